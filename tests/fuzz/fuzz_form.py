"""The form of a token request: what it claims, or `Denied`."""

from urllib.parse import parse_qsl

from sidecar.decision.denial import Denied, Reason, shape
from sidecar.decision.request import RequestHead
from sidecar.http.token_form import REPEATABLE, read_form
from tests.fuzz.outcome import outcome

FORM = "application/x-www-form-urlencoded"
SEEDS = [
    b"grant_type=client_credentials&client_id=a&resource=x&resource=y",
    b"client_id=a&client_secret=s\n?x=1",
    b"client_id=a&x=%C3%A4+b\n!Basic YTpi",
    (
        b"client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        b"&client_assertion=e30.eyJpc3MiOiJhIiwic3ViIjoiYSJ9.c2ln"
    ),
    b"client_id=a;client_id=b\n:application/x-www-form-urlencoded;charset=utf-8",
]
_SPOKEN = {400, 413, 414}


def target(data: bytes) -> None:
    """Behind the body stand lines: `?` begins the query, `!` an `Authorization`, `:` a `Content-Type`."""
    body, *lines = data.split(b"\n")
    texts = [line.decode("latin-1") for line in lines]
    query = "".join(line[1:] for line in texts if line.startswith("?"))
    credentials = tuple(line[1:] for line in texts if line.startswith("!"))
    types = tuple(line[1:] for line in texts if line.startswith(":")) or (FORM,)
    fields = [(b"content-type", one.encode("latin-1")) for one in types]
    head = RequestHead("POST", "/token", "/token", query, "", authorization=credentials)
    request = outcome(lambda: read_form(head, fields, body))
    if isinstance(request, Denied):
        assert shape(request.reason).status in _SPOKEN
        assert request.reason is not Reason.CLIENT_UNKNOWN
        assert request.failure.presented.isascii()
        return
    assert request.body is body
    assert request.client_id
    assert (
        len(credentials)
        + ("client_secret" in request.parameters)
        + ("client_assertion" in request.parameters)
        <= 1
    )
    # What we read is what a reader of another make reads, whichever of several it takes.
    others = parse_qsl(body.decode("ascii"))
    assert [(name, value) for name, values in request.parameters.items() for value in values] == sorted(
        others, key=lambda pair: list(request.parameters).index(pair[0])
    )
    names = [name.lower() for name, _ in others if name not in REPEATABLE]
    assert len(names) == len(set(names))


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
