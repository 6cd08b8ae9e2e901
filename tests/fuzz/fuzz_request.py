"""A whole request: `Permit` or `Denial`, at once, and a permit for nobody."""

import inspect
from collections.abc import Sequence

from sidecar.authorizer import Authorizer
from sidecar.decision.challenge import challenges, problem
from sidecar.decision.denial import Denial
from sidecar.decision.matching import RequestMatch
from sidecar.decision.permit import Permit
from sidecar.decision.policy import IssuerPolicy, Policy, Rule
from sidecar.decision.ports import KeySet, VerificationKey
from sidecar.decision.request import Presenter, RequestHead

SEEDS = [
    b"GET /a?b HTTP\nBearer a.b.c", b"OPTIONS * x\n", b"get /../a x\nBearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJpIn0.",
    b"GET /a x\nBearer x\nBearer y",
]  # fmt: skip


class _NoKeys:
    """An issuer without keys."""

    def fitting(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return ()

    def is_current(self, key: object) -> bool:
        return False

    def keys(self, issuer: str) -> KeySet:
        return self

    async def refreshed(self, issuer: str, kid: str | None, source: str = "") -> KeySet:
        return self

    def may_refresh(self, issuer: str, kid: str | None, source: str = "") -> bool:
        return False


_POLICY = Policy({"i": IssuerPolicy("i", frozenset({"a"}))}, (Rule("all", RequestMatch()),))
_GATE = Authorizer(_POLICY, _NoKeys(), digest_key=b"key", elapsing=float)
_PRESENTER = Presenter(None, "main", "peer")


def target(data: bytes) -> None:
    """The first line is the request line, the others are Authorization fields."""
    line, *fields = data.decode("latin-1").split("\n")
    method, _, rest = line.partition(" ")
    path, _, query = rest.partition(" ")[0].partition("?")
    head = RequestHead(method, rest, path, query, "", authorization=tuple(fields))
    decision = _GATE.authorize(head, _PRESENTER, 0)
    assert not inspect.isawaitable(decision)
    assert not isinstance(decision, Permit)
    assert isinstance(decision, Denial)
    value = ", ".join(challenges(decision, "realm"))
    assert value.isascii()
    assert value.isprintable()
    assert problem(decision.reason, "id").isascii()


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
