"""Which paths are, or could be taken for, an endpoint of an authorization server. Pure.

Servers read paths generously: without case, with slashes to spare, with escapes that need not be, with parameters and
suffixes. Whatever one of them could take for an endpoint must not bypass the checks of endpoints. So a path is folded
as the most generous reader would fold it; a path that folds to an endpoint's and is spelled otherwise is refused.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_PLAIN: Final = re.compile(rb"(?:/[a-z0-9_-]+)+")
"""Paths that `folded` leaves as they are."""
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\\]*")
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
_DECODINGS: Final = 3


def folded(target: bytes) -> frozenset[bytes]:
    """A request target as generous readers have its path: mostly one, and always a few."""
    text = target.decode("latin-1")
    origin = _ORIGIN.match(text)
    if origin is not None:
        text = text[origin.end() :] or "/"
    data = re.split(r"[?#]", text, maxsplit=1)[0].encode("latin-1")
    for _ in range(_DECODINGS):
        again = unquote_to_bytes(data)
        if again == data:
            break
        data = again
    path = _CONTROL.sub("", data.decode("utf-8", "replace")).replace("\\", "/").casefold()
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    return frozenset((_joined(path), _joined(path.partition(";")[0])))


def _joined(path: str) -> bytes:
    """Without empty segments, parameters, and what looks like a suffix of the last segment."""
    kept: list[str] = []
    for segment in path.split("/"):
        name = segment.partition(";")[0].rstrip(".")
        if name:
            kept.append(name)
        elif segment.startswith("..") and kept:
            kept.pop()
    if kept:
        kept[-1] = kept[-1].partition(".")[0] or kept[-1]
    return ("/" + "/".join(kept)).encode()


class EndpointPaths:
    """The paths of one configuration."""

    def __init__(self, public: dict[str, str], *, hidden: frozenset[str] = frozenset()) -> None:
        """`public` maps a path to the name of what is there; `hidden` are paths at which the server has it, and at
        which no client may find it.
        """
        self._public = public
        self._folded = frozenset().union(*(folded(path.encode()) for path in (*public, *hidden)))
        self._spelled = frozenset(path.encode() for path in public) & self._folded
        """Paths of endpoints as clients spell them."""

    def covers(self, target: bytes) -> bool:
        """Whether some server may read a request target as an endpoint."""
        if target in self._spelled:
            return True
        if _PLAIN.fullmatch(target):  # as nearly all are: an ordinary request pays for no more
            return target in self._folded
        return not self._folded.isdisjoint(folded(target))

    def named(self, path: str) -> str | None:
        """The endpoint at a path that is spelled exactly, or None."""
        return self._public.get(path)
