"""A request target: a rule, none, or `Denied`; whatever is let through has one reading."""

import posixpath
from contextlib import suppress
from functools import partial
from urllib.parse import unquote, unquote_to_bytes

from sidecar.decision.denial import Denied, Reason
from sidecar.decision.matching import Matcher, RequestMatch
from sidecar.decision.path import ALLOWABLE, TooLong, segments
from sidecar.decision.request import RequestHead
from tests.fuzz.outcome import outcome

SEEDS = [
    b"/public/a", b"/public/../admin", b"/public/%2e%2e/admin", b"/admin;x", b"//admin", b"/a%2Fb?x=1", b"/%c0%af",
    b"*",
    b"/public/%252e%252e%252fadmin", b"/caf%C3%A9",
]  # fmt: skip
_RULES = [RequestMatch(path="/public/**"), RequestMatch(path="/admin/{id}/**"), RequestMatch(path="/*/x")]
_STRICT = Matcher(_RULES)
_LAX = Matcher(_RULES, [frozenset(ALLOWABLE)] * len(_RULES))


def target(data: bytes) -> None:
    """The naive reader, who decodes first and then resolves, comes to the same rule."""
    text = data.decode("latin-1")
    path, _, query = text.partition("?")
    head = RequestHead("GET", text, path, query, "")
    with suppress(TooLong):
        parts, kinds = segments(path)
        if not kinds and path != "*":
            assert parts == [unquote_to_bytes(part).decode() for part in path[1:].split("/")]
    for matcher in (_STRICT, _LAX):
        found = outcome(partial(matcher.first, head))
        if isinstance(found, Denied):
            assert found.reason in {Reason.PATH_AMBIGUOUS, Reason.TARGET_TOO_LONG}
        elif found is not None and found[0] == 0:
            resolved = posixpath.normpath(unquote(unquote(path)).replace("\\\\", "/"))
            assert resolved.lstrip("/").startswith("public")


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
