"""A verified claims set, or an introspection response, in JSON: a validated token or a refusal."""

from sidecar.decision import profile
from sidecar.decision.confirmation import confirm
from sidecar.decision.denial import Denied, shape
from sidecar.decision.jose import VerifiedClaims
from sidecar.decision.policy import IssuerPolicy
from sidecar.decision.ports import VerificationKey
from sidecar.decision.presentation import Presentation
from sidecar.decision.request import Presenter, RequestHead
from sidecar.decision.strict import Malformed, json_object
from sidecar.decision.token import AccessToken, TokenDigest, ValidatedToken
from tests.fuzz.outcome import outcome

SEEDS = [
    b'{"iss":"i","aud":"a","exp":1,"cnf":{"x5t#S256":"AAAA"},"scope":"a b"}',
    b'{"iss":"i","aud":["a",1],"exp":1e300,"nbf":-1,"cnf":{"jkt":1}}',
    b'{"active":true,"iss":"i","sub":1,"cnf":{}}',
    b'{"active":"true"}',
]
_ISSUER = IssuerPolicy("i", frozenset({"a"}))
_DIGEST = TokenDigest(b"")
_KEY = VerificationKey(None, frozenset(), None)
_NOTHING = Presentation(
    RequestHead("GET", "/", "/", "", ""), Presenter(None, "main", "peer"), AccessToken("x", b"key"), 0
)


def target(data: bytes) -> None:
    """A bound token is confirmed by nobody who has no certificate."""
    try:
        claims = json_object(data)
    except Malformed:
        return
    _judge(outcome(lambda: profile.validate(VerifiedClaims(claims, "at+jwt", _KEY), _ISSUER, _DIGEST)))
    try:
        token = outcome(lambda: profile.introspected(claims, "i", _DIGEST))
    except Malformed:
        assert type(claims.get("active")) is not bool
        return
    _judge(token)


def _judge(token: ValidatedToken | Denied) -> None:
    if isinstance(token, Denied):
        assert shape(token.reason).status == 401
        return
    confirmed = outcome(lambda: confirm(token.confirmation, _NOTHING))
    assert isinstance(confirmed, Denied) is token.confirmation.is_bound


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
