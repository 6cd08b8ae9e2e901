"""Percent-encoding (RFC 3986 §2.1), decoded by the C of the standard library: what it costs is what its length is.

`urllib.parse.unquote` takes a step of Python for each escape, and anybody can send a thousand of them.
"""

import re
from typing import Final

_NO_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def unescaped(text: str, errors: str = "strict") -> str:
    """`text` with its escapes decoded, as UTF-8. A % without two hexadecimal digits stands for itself.

    Raises `UnicodeError` for what is not UTF-8, unless `errors` (of `bytes.decode`) says otherwise.
    """
    # `%C3` becomes the escape `\xC3` of a Python string, after the backslashes that are there have become escapes too.
    literal = _NO_ESCAPE.sub("%25", text).replace("\\", "\\\\").replace("%", "\\x")
    return literal.encode("utf-8").decode("unicode_escape").encode("latin-1").decode("utf-8", errors)
