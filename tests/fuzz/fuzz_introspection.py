"""The answer of an introspection endpoint, from the wire to the cache: a token, "inactive", a refusal, or an outage."""

from sidecar.decision import profile
from sidecar.decision.denial import Denied, Reason, shape
from sidecar.decision.strict import Malformed
from sidecar.decision.token import TokenDigest, ValidatedToken
from sidecar.issuer.clock import Clock
from sidecar.issuer.http import FetchFailed
from sidecar.issuer.introspection_cache import Answer, IntrospectionCache
from sidecar.issuer.metadata import parse_object
from tests.fuzz.outcome import outcome

SEEDS = [
    b'{"active":true,"aud":["a"],"exp":2000000000,"scope":"a b","client_id":"c","cnf":{"x5t#S256":"AAAA"}}',
    b'{"active":false}', b'{"active":1}', b'{"active":true,"exp":"1"}', b'{"active":true,"iss":"other"}',
    b'{"active":true,"exp":1e400}', b'{"active":true,"aud":{"a":[]},"cnf":[],"scope":[1]}', b"<html>",
    b'{"active":true,"sub":"\\ud800"}', b'{"active":true,"active":false}',
]  # fmt: skip
_LIMIT = 8192
_CLOCK = Clock(lambda: 1000.0, lambda: 1_800_000_000.0)


def target(data: bytes) -> None:
    """What is remembered is what was said, within the bound, and never past `exp`."""
    try:
        said = outcome(lambda: profile.introspected(parse_object(data), "i", TokenDigest(b"")))
    except (FetchFailed, Malformed):
        return
    answer: Answer = said
    if isinstance(said, Denied):
        assert shape(said.reason).status == 401
        answer = False if said.reason is Reason.TOKEN_INACTIVE else said
    cache = IntrospectionCache(_LIMIT, _CLOCK)
    cache.keep(b"other", False, 60)
    cache.keep(b"key", answer, 60)
    assert cache.size <= _LIMIT
    found = cache.find(b"key")
    assert found is answer or found is None
    if isinstance(answer, ValidatedToken):
        assert answer.issuer == "i"
        assert found is None or answer.expires_at > 1_800_000_000.0


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
