"""The Authorization field: an access token or `Denied`."""

from sidecar.decision.credentials import access_token
from sidecar.decision.denial import Denied, shape
from sidecar.decision.request import RequestHead
from tests.fuzz.outcome import outcome

SEEDS = [b"Bearer abc", b"bearer a.b.c\nBearer x", b"DPoP x", b"Basic eDp5", b"Bearer a\n\n?access_token=x"]


def target(data: bytes) -> None:
    """Fields stand on lines; a line that begins with a question mark is the query."""
    lines = data.decode("latin-1").split("\n")
    query = "".join(line[1:] for line in lines if line.startswith("?"))
    fields = tuple(line for line in lines if not line.startswith("?"))
    head = RequestHead("GET", "/", "/", query, "", authorization=fields)
    token = outcome(lambda: access_token(head, b"key", 64))
    if isinstance(token, Denied):
        assert shape(token.reason).status in {400, 401}
        assert token.failure.presented.isascii()
        return
    assert 0 < len(token) <= 64
    assert token.reveal() in fields[0]


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
