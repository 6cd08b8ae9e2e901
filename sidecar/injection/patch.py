"""The difference between two JSON documents as RFC 6902 operations.

The webhook sends them to the API server. The command applies them to the parsed YAML tree, which preserves comments.
Only `add`, `replace` and `remove` are used.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `path` holds unescaped keys and indexes, outermost first."""

    verb: Literal["add", "replace", "remove"]
    path: tuple[str | int, ...]
    value: Any = None

    @property
    def pointer(self) -> str:
        """The path as a JSON pointer (RFC 6901 §3: `~` is `~0`, `/` is `~1`)."""
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in self.path)

    def as_json(self) -> dict[str, Any]:
        """The operation object of RFC 6902 §4."""
        start: dict[str, Any] = {"op": self.verb, "path": self.pointer}
        return start if self.verb == "remove" else {**start, "value": self.value}


def difference(old: Any, new: Any) -> tuple[Operation, ...]:
    """The operations that turn `old` into `new`, in an order in which they can be applied."""
    return tuple(_steps(old, new, ()))


def _steps(old: Any, new: Any, path: tuple[str | int, ...]) -> Iterator[Operation]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _mapping_steps(old, new, path)
    elif _is_array(old) and _is_array(new):
        yield from _array_steps(old, new, path)
    elif type(old) is not type(new) or old != new:
        yield Operation("replace", path, new)


def _mapping_steps(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str | int, ...]
) -> Iterator[Operation]:
    for key in old:
        if key in new:
            yield from _steps(old[key], new[key], (*path, key))
        else:
            yield Operation("remove", (*path, key))
    for key in new:
        if key not in old:
            yield Operation("add", (*path, key), new[key])


def _array_steps(old: Sequence[Any], new: Sequence[Any], path: tuple[str | int, ...]) -> Iterator[Operation]:
    common = min(len(old), len(new))
    for index in range(common):
        yield from _steps(old[index], new[index], (*path, index))
    for index in range(common, len(new)):
        yield Operation("add", (*path, index), new[index])
    for index in reversed(range(common, len(old))):
        yield Operation("remove", (*path, index))


def _is_array(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
