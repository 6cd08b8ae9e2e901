"""Reads a request path in the one way that every server reads it, or says that there are several.

Rules of this file: a path is never rewritten (RFC 9110 §7.7); segments are decoded for comparison only, once, and
what is forwarded are the bytes received. A path in which two readers could see two resources is *ambiguous*, and
each kind of ambiguity has a name. Some names may be allowed, rule by rule; those in `NEVER` may not.

Anybody can send a path, so what it costs is bounded: everything is looked for in the whole path at once, a path has at
most `SEGMENTS` segments, and an ambiguous one at most `READINGS` readings of `READ_BYTES` bytes together.
"""

import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from sidecar.decision.escape import unescaped

ALLOWABLE: Final = {
    "encoded_slash": "%2F, which some servers take for a separator",
    "backslash": "a backslash or %5C, which some servers take for a separator",
    "double_slash": "an empty segment, which some servers drop",
    "semicolon": "; or %3B, after which some servers drop the rest of the segment",
    "encoded_delimiter": "%3F or %23, which some servers take for the end of the path",
    "encoded_unreserved": "an escape of a letter, digit or one of -._~, which needs none (RFC 3986 §2.3)",
    "double_encoding": "an escape that decodes to an escape",
    "invalid_character": "a character that a path may not hold unescaped (RFC 3986 §3.3)",
}
"""Kinds of ambiguity that a rule may allow, and what they are."""

NEVER: Final = {
    "dot_segment": "a segment that means this or the upper directory, in whatever disguise",
    "control_character": "a control character, escaped or not",
    "invalid_escape": "a % without two hexadecimal digits",
    "invalid_utf8": "escapes that are not UTF-8, an overlong slash for instance",
    "unescaped_text": "a character outside of ASCII that is not escaped (RFC 3986 §2.1), which is read in many ways",
    "fragment": "a #, which never belongs to a request (RFC 9112 §3.2)",
    "not_absolute": "no leading slash",
}
"""Kinds of ambiguity that no rule can allow."""

SEGMENTS: Final = 256
"""How many segments a path may have."""
READINGS: Final = 8
"""How many readings of an ambiguous path are compared."""
READ_BYTES: Final = 16384
"""How long those may be together."""


class TooLong(ValueError):
    """A path takes more work than a request is worth. The message says what was expected."""


# Without escape and semicolon. If no segment is empty or begins with a dot, too: the unambiguous part of RFC 3986 §3.3.
_PLAIN: Final = re.compile(r"/[A-Za-z0-9_~!$&'()*+,=:@./-]*")
_LEGAL: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/\\\u0080-\U0010ffff]*")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"%(?:2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])")
_DOTS: Final = re.compile(r"(?:\A|[/\\])\.\.?(?:[/\\;?#]|\Z)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ENCODED_SLASH: Final = re.compile(r"%2[Ff]")
_MARKS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("encoded_slash", _ENCODED_SLASH),
    ("backslash", re.compile(r"\\|%5[Cc]")),
    ("double_slash", re.compile(r"//")),
    ("semicolon", re.compile(r";|%3[Bb]")),
    ("encoded_delimiter", re.compile(r"%3[Ff]|%23")),
    ("encoded_unreserved", _UNRESERVED),
    ("fragment", re.compile(r"#")),
    ("invalid_escape", _BAD_ESCAPE),
)

_UNAMBIGUOUS: Final[frozenset[str]] = frozenset()

_KNOWN: Final[dict[str, list[str]]] = {}
"""Unambiguous paths → segments: the paths of gRPC methods, or of an API without identifiers in its paths, are few."""
_MOST_KNOWN: Final = 128
_LONGEST_KNOWN: Final = 128
"""Characters of a path that is kept."""

ASTERISK: Final = "\x00*"
"""The one segment of the asterisk-form: the server itself (RFC 9112 §3.2.4). No path has a segment like it."""


def segments(path: str) -> tuple[list[str], AbstractSet[str]]:
    """The decoded segments of a path, and the kinds of its ambiguities: usually none.

    `/a/b` has the segments `a` and `b`; `/a/` has `a` and an empty one; `/` has one empty one. Nobody may change the
    list: who asks for the same path again gets the same one. Raises `TooLong`.
    """
    if path == "*":
        return [ASTERISK], _UNAMBIGUOUS
    known = _KNOWN.get(path)
    if known is not None:
        return known, _UNAMBIGUOUS
    if path.count("/") > SEGMENTS:
        raise TooLong(f"at most {SEGMENTS} segments")
    if _PLAIN.fullmatch(path) and "//" not in path and "/." not in path:
        parts = path[1:].split("/")
        if len(path) <= _LONGEST_KNOWN:
            if len(_KNOWN) >= _MOST_KNOWN:
                _KNOWN.clear()
            _KNOWN[path] = parts
        return parts, _UNAMBIGUOUS
    kinds = {kind for kind, mark in _MARKS if mark.search(path)}
    if not path.startswith("/"):
        kinds.add("not_absolute")
    if not path.isascii():
        kinds.add("unescaped_text")
    if not _LEGAL.fullmatch(path):
        kinds.add("invalid_character")
    try:
        text = _decoded(path)
    except UnicodeError:
        kinds.add("invalid_utf8")
        return path.removeprefix("/").split("/"), kinds
    _add_hidden(text, kinds)
    if "encoded_slash" in kinds:  # such a slash separates nothing
        return _split(path), kinds
    return text.removeprefix("/").split("/"), kinds


def _decoded(text: str) -> str:
    """Raises `UnicodeError`."""
    # What is not ASCII must be UTF-8 too, escape or not.
    return unescaped(text) if "%" in text or not text.isascii() else text


def _add_hidden(text: str, kinds: set[str]) -> None:
    """What is seen in a decoded path only.

    A segment counts as dotted when some reader may take it, or a part of it, for `.` or `..`: separators from escapes,
    whatever ends a segment for some, and second decodings count.
    """
    if _CONTROL.search(text):
        kinds.add("control_character")
    again = text
    if _ESCAPE.search(text):
        kinds.add("double_encoding")
        again = unescaped(text, "replace")
    if _DOTS.search(text) or _DOTS.search(again):
        kinds.add("dot_segment")


def _split(path: str, most: int = -1) -> list[str]:
    """Segments, decoded after the split, or not at all when that is no UTF-8; the first `most`, when it is positive."""
    parts = path.removeprefix("/").split("/", most)
    if most > 0:
        del parts[most:]
    try:
        # All at once. A NUL stands for the slash that separates nothing: a path that has one itself is refused.
        decoded = _decoded(_ENCODED_SLASH.sub("%00", "/".join(parts))).split("/")
    except UnicodeError:
        return parts
    return [part.replace("\x00", "/") for part in decoded] if "%" in path else decoded


def _cut_parameters(path: str) -> str:
    return re.sub(r"(?:;|%3[Bb])[^/]*", "", path)


_OTHER_READERS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("double_encoding", lambda path: re.sub(r"%25(?=[0-9A-Fa-f]{2})", "%", path)),
    ("encoded_slash", lambda path: re.sub(r"%2[Ff]", "/", path)),
    ("backslash", lambda path: re.sub(r"\\|%5[Cc]", "/", path)),
    ("encoded_delimiter", lambda path: re.split(r"%3[Ff]|%23", path)[0]),
    ("semicolon", _cut_parameters),
    ("double_slash", lambda path: re.sub(r"//+", "/", path)),
)
"""What a reader makes of each kind who does not take it as it stands."""


def readings(path: str, ambiguities: AbstractSet[str], depth: int = -1) -> Iterator[list[str]]:
    """The segments that other readers may see in an ambiguous path, whichever of its kinds they mind.

    The first `depth` segments of each, when it is positive. Raises `TooLong`.
    """
    # What an escape hides may hold any of the others.
    hidden = "double_encoding" in ambiguities
    seen = {path}
    for kind, read in _OTHER_READERS:
        if hidden or kind in ambiguities:
            seen.update([read(each) for each in seen])
            if len(seen) > READINGS or len(seen) * len(path) > READ_BYTES:
                raise TooLong(f"at most {READINGS} readings, of {READ_BYTES} bytes together")
    return (_split(each, depth) for each in seen)
