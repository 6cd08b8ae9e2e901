"""What a token without `kid` costs: each of the issuer's keys that fits is tried, eight at most (RFC 7515 §4.1.4).

In this process: the whole decision about tokens that were never seen, whose key is named, or is the last of eight.
"""

from time import process_time, time

from sidecar.authorizer import Authorizer
from sidecar.decision.permit import Permit
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.world import Keys, authorizer, head, policy, presenter, rule

KEYS = 8
NAMED = "kid names the key"
UNNAMED = f"no kid, the last of {KEYS} keys"
_TOKENS = 400


def measured(rounds: int) -> dict[str, float]:
    """Microseconds of processor time a decision, by kind of token; the best of so many rounds."""
    pki = Pki.create()
    keys = [SigningKey.create("ES256", kid=f"k{number}") for number in range(KEYS)]
    right = keys[-1]
    kinds: dict[str, dict[str, object]] = {NAMED: {}, UNNAMED: {"kid": None}}
    best = dict.fromkeys(kinds, float("inf"))
    for number in range(rounds):
        for kind, header in kinds.items():
            tokens = [right.token(pki.client, header=header, jti=f"{number}-{at}") for at in range(_TOKENS)]
            gate = authorizer(policy(rule("all")), Keys.of(*keys))
            best[kind] = min(best[kind], _each(gate, pki, tokens))
    return best


def _each(gate: Authorizer, pki: Pki, tokens: list[str]) -> float:
    heads, who = [head(token=token) for token in tokens], presenter(pki.client)
    now = time()
    before = process_time()
    decided = [gate.authorize(one, who, now) for one in heads]
    spent = process_time() - before
    if not all(isinstance(one, Permit) for one in decided):
        raise RuntimeError(f"a rightful token was refused: {decided[0]}")
    return spent / len(tokens) * 1e6
