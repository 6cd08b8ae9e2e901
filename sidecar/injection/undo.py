"""Records what injection changed in a Pod, so that it can be undone. Pure.

The record is a list of small JSON objects in the status annotation. A step of a path is a key, an index, or `{"name":
…}` for the member of a list whose members have names, so that later insertions and moves do not matter. A value is
restored only if it is still the one that injection wrote; other values are reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sidecar.injection.problem import CannotInject

Step = str | int | dict[str, str]


def record(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps that turn `new` back into `old`, in the order of their application.

    `{"at": path, "was": value, "now": value}` for a replaced value, `{"at": path, "was": value, "place": index}` for
    a removed key, `{"at": path, "now": value}` for an added value. Members added to a mapping of texts or a list of
    objects with names are `{"at": path, "keys": […]}` or `{"at": path, "names": […]}`, with `"made": true` if the
    mapping or list itself did not exist.
    """
    return list(_differing(old, new, []))


def taken_back(pod: dict[str, Any], steps: Sequence[Any]) -> list[str]:
    """Apply the steps to `pod`, in place; returns a sentence for each that no longer applies.

    Raises `CannotInject` if the record was not written by `record`.
    """
    left = []
    for step in steps:
        if not isinstance(step, dict) or not isinstance(step.get("at"), list) or not step["at"]:
            raise CannotInject("the record of the injection cannot be read")
        if not _take(pod, step):
            left.append(f"{shown(step['at'])} was changed since the injection and stays as it is")
    return left


def shown(path: Sequence[Any]) -> str:
    """A path for display: `spec.containers[api].ports[0].name`."""
    text = ""
    for step in path:
        if isinstance(step, dict):
            text += f"[{step.get('name')}]"
        elif isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else str(step)
    return text


def _differing(old: Any, new: Any, path: list[Step]) -> Iterator[dict[str, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _of_mappings(old, new, path)
    elif isinstance(old, list) and isinstance(new, list) and _match_by_name(old, new):
        yield from _of_named(old, new, path)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differing(before, after, [*path, index])
    elif type(old) is not type(new) or old != new:
        yield {"at": path, "was": old, "now": new}


def _of_mappings(
    old: Mapping[str, Any], new: Mapping[str, Any], path: list[Step]
) -> Iterator[dict[str, Any]]:
    for key, value in new.items():
        if key in old:
            yield from _differing(old[key], value, [*path, key])
        elif path[-1:] not in (["annotations"], ["labels"]):
            yield from _added(value, [*path, key])
    keys = [key for key in new if key not in old]
    if keys and path[-1:] in (["annotations"], ["labels"]):
        yield {"at": path, "keys": keys}
    for place, key in enumerate(old):
        if key not in new:
            yield {"at": [*path, key], "was": old[key], "place": place}


def _of_named(old: list[Any], new: list[Any], path: list[Step]) -> Iterator[dict[str, Any]]:
    there = {one["name"]: one for one in old}
    for one in new:
        if one["name"] in there:
            yield from _differing(there[one["name"]], one, [*path, {"name": one["name"]}])
    names = [one["name"] for one in new if one["name"] not in there]
    if names:
        yield {"at": path, "names": names}


def _added(value: Any, path: list[Step]) -> Iterator[dict[str, Any]]:
    if isinstance(value, list) and _match_by_name([], value):
        yield {"at": path, "names": [one["name"] for one in value], "made": True}
    elif isinstance(value, Mapping) and path[-1:] in (["annotations"], ["labels"]):
        yield {"at": path, "keys": list(value), "made": True}
    elif path == ["metadata"] and isinstance(value, Mapping):
        for key, one in value.items():
            yield from _added(one, [*path, key])
        yield {"at": path, "keys": [], "made": True}
    else:
        yield {"at": path, "now": value}


def _match_by_name(old: list[Any], new: list[Any]) -> bool:
    """Whether both lists consist of objects with unique names, and no name of the old one is missing."""
    names = [one.get("name") if isinstance(one, Mapping) else None for one in new]
    before = [one.get("name") if isinstance(one, Mapping) else None for one in old]
    return (
        bool(new)
        and None not in names
        and len(set(names)) == len(names)
        and len(set(before)) == len(before)
        and set(before) <= set(names)
    )


def _take(pod: dict[str, Any], step: Mapping[str, Any]) -> bool:
    *above, last = step["at"]
    parent: Any = pod
    for one in above:
        key = _key(parent, one)
        if key is None:
            return False
        parent = parent[key]
    if "place" in step:
        return _put_back(parent, last, step)
    key = _key(parent, last)
    if key is None:
        return "was" not in step  # the added value is gone already
    if "keys" in step or "names" in step:
        return _without(parent, key, step)
    if parent[key] != step.get("now"):
        return False
    if "was" in step:
        parent[key] = step["was"]
    else:
        del parent[key]
    return True


def _without(parent: Any, key: Any, step: Mapping[str, Any]) -> bool:
    """Remove members by their keys or names, and the mapping or list too if injection created it and it is empty."""
    held = parent[key]
    if isinstance(held, dict) and isinstance(step.get("keys"), list):
        parent[key] = {name: one for name, one in held.items() if name not in step["keys"]}
    elif isinstance(held, list) and isinstance(step.get("names"), list):
        parent[key] = [
            one for one in held if not (isinstance(one, dict) and one.get("name") in step["names"])
        ]
    else:
        return False
    if step.get("made") and not parent[key]:
        del parent[key]
    return True


def _put_back(parent: Any, key: Any, step: Mapping[str, Any]) -> bool:
    if not isinstance(parent, dict) or not isinstance(key, str) or key in parent:
        return False
    members = list(parent.items())
    members.insert(step["place"] if isinstance(step["place"], int) else len(members), (key, step["was"]))
    parent.clear()
    parent.update(members)
    return True


def _key(parent: Any, step: Any) -> Any:
    """The key or index in `parent` that a step denotes, or None."""
    if isinstance(step, dict):
        if not isinstance(parent, list):
            return None
        found = (
            index
            for index, one in enumerate(parent)
            if isinstance(one, dict) and one.get("name") == step.get("name")
        )
        return next(found, None)
    if isinstance(parent, dict):
        return step if isinstance(step, str) and step in parent else None
    return step if isinstance(parent, list) and type(step) is int and 0 <= step < len(parent) else None
