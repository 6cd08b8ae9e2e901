"""The negatives of DPoP in the OpenID conformance suite (FAPI 2.0 Security Profile), each by its own name, against a
running sidecar; and what the same plan wants accepted."""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.process.world import sidecar
from tests.support.mint import SigningKey, base64url
from tests.support.pki import Pki
from tests.support.proofs import Prover
from tests.support.sidecar import Sidecar, issuer, policy
from tests.support.tls_client import Response

ORIGIN = "https://api.example.com"
URL = f"{ORIGIN}/accounts/7"
HOUR = 3600


@dataclass(frozen=True)
class Client:
    """Whose token is bound to a key, and who sends proofs as a case wants them."""

    one: Sidecar
    token: str
    prover: Prover

    def proof(self, *, token: str | None = None, prover: Prover | None = None, **given: object) -> str:
        asked = {"url": URL} | given
        return (prover or self.prover).proof(token or self.token, **asked)  # type: ignore[arg-type]

    def ask(
        self, *proofs: str, scheme: str = "DPoP", field: str = "DPoP", target: str = "/accounts/7"
    ) -> Response:
        fields = [("Authorization", f"{scheme} {self.token}"), *((field, proof) for proof in proofs)]
        with self.one.connect() as wire:
            return wire.request("GET", target, fields)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Client]:
    document = policy(issuers=[issuer(schemes=["DPoP"], algorithms=["ES256"])])
    service = {"protected_resource": {"resource": ORIGIN, "origins": [ORIGIN]}}
    folder = tmp_path_factory.mktemp("fapi2")
    with sidecar(folder, pki, signing_key, service, policy_document=document) as (one, _):
        prover = Prover.create()
        yield Client(one, signing_key.token(cnf=prover.cnf), prover)


def spoiled(proof: str, part: int, text: str) -> str:
    parts = proof.split(".")
    parts[part] = text
    return ".".join(parts)


def another_signature(client: Client) -> str:
    proof = client.proof()
    return spoiled(proof, 2, client.proof().rpartition(".")[2])


def private_key(client: Client) -> str:
    number = client.prover.signer.key.private_numbers().private_value  # type: ignore[union-attr]
    secret = urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")
    return client.proof(header={"jwk": {**client.prover.jwk, "d": secret}})


def changed_claims(client: Client) -> str:
    proof = client.proof()
    claims = json.loads(urlsafe_b64decode(proof.split(".")[1] + "=="))
    return spoiled(proof, 1, base64url(json.dumps({**claims, "jti": "another"}).encode()))


def by_rs256(client: Client) -> str:
    return client.proof(prover=Prover.create("RS256"))


def unsigned(client: Client) -> str:
    return spoiled(client.proof(header={"alg": "none"}), 2, "")


def again(client: Client) -> Response:
    proof = client.proof()
    assert client.ask(proof).status == 200
    return client.ask(proof)


def now() -> int:
    return int(time.time())


INVALID_PROOF, INVALID_TOKEN = "invalid_dpop_proof", "invalid_token"
Sent = Callable[[Client], Response]
NEGATIVES: Mapping[str, tuple[Sent, str, str]] = {
    "no DPoP field": (lambda c: c.ask(), "proof_missing", INVALID_PROOF),
    "two DPoP fields": (lambda c: c.ask(c.proof(), c.proof()), "proof_repeated", INVALID_PROOF),
    "two proofs in one field": (lambda c: c.ask(f"{c.proof()}, {c.proof()}"), "proof_repeated", INVALID_PROOF),
    "the same proof in two fields": (lambda c: c.ask(*[c.proof()] * 2), "proof_repeated", INVALID_PROOF),
    "an empty DPoP field": (lambda c: c.ask(""), "proof_malformed", INVALID_PROOF),
    "a proof that is no JWT": (lambda c: c.ask("not.a.proof"), "proof_malformed", INVALID_PROOF),
    "typ missing": (lambda c: c.ask(c.proof(without=["typ"])), "proof_malformed", INVALID_PROOF),
    "typ JWT": (lambda c: c.ask(c.proof(header={"typ": "JWT"})), "proof_malformed", INVALID_PROOF),
    "alg missing": (lambda c: c.ask(c.proof(without=["alg"])), "proof_algorithm_refused", INVALID_PROOF),
    "alg RS256": (lambda c: c.ask(by_rs256(c)), "proof_algorithm_refused", INVALID_PROOF),
    "alg none": (lambda c: c.ask(unsigned(c)), "proof_algorithm_refused", INVALID_PROOF),
    "alg HS256": (lambda c: c.ask(c.proof(header={"alg": "HS256"})), "proof_algorithm_refused", INVALID_PROOF),
    "alg of another key": (lambda c: c.ask(c.proof(header={"alg": "EdDSA"})), "proof_algorithm_refused", INVALID_PROOF),
    "jwk missing": (lambda c: c.ask(c.proof(without=["jwk"])), "proof_key_refused", INVALID_PROOF),
    "jwk with a private key": (lambda c: c.ask(private_key(c)), "proof_key_refused", INVALID_PROOF),
    "jti missing": (lambda c: c.ask(c.proof(without=["jti"])), "proof_malformed", INVALID_PROOF),
    "htm missing": (lambda c: c.ask(c.proof(without=["htm"])), "proof_malformed", INVALID_PROOF),
    "htu missing": (lambda c: c.ask(c.proof(without=["htu"])), "proof_malformed", INVALID_PROOF),
    "iat missing": (lambda c: c.ask(c.proof(without=["iat"])), "proof_malformed", INVALID_PROOF),
    "ath missing": (lambda c: c.ask(c.proof(without=["ath"])), "proof_malformed", INVALID_PROOF),
    "a signature of another proof": (lambda c: c.ask(another_signature(c)), "proof_signature_invalid", INVALID_PROOF),
    "claims changed after signing": (lambda c: c.ask(changed_claims(c)), "proof_signature_invalid", INVALID_PROOF),
    "htm of another method": (lambda c: c.ask(c.proof(method="POST")), "proof_method_mismatch", INVALID_PROOF),
    "htu of another host": (
        lambda c: c.ask(c.proof(url="https://other.example.com/accounts/7")), "proof_target_mismatch", INVALID_PROOF,
    ),
    "htu of another path": (
        lambda c: c.ask(c.proof(url=f"{ORIGIN}/accounts/8")), "proof_target_mismatch", INVALID_PROOF,
    ),
    "htu with the scheme http": (
        lambda c: c.ask(c.proof(url=URL.replace("https", "http"))), "proof_target_mismatch", INVALID_PROOF,
    ),
    "iat an hour ago": (lambda c: c.ask(c.proof(iat=now() - HOUR)), "proof_expired", INVALID_PROOF),
    "iat in an hour": (lambda c: c.ask(c.proof(iat=now() + HOUR)), "proof_not_yet_valid", INVALID_PROOF),
    "jti used before": (again, "proof_replayed", INVALID_PROOF),
    "ath of another token": (lambda c: c.ask(c.proof(token="another")), "proof_token_mismatch", INVALID_PROOF),
    "signed by another key": (
        lambda c: c.ask(c.proof(prover=Prover.create())), "proof_key_mismatch", INVALID_TOKEN,
    ),
    "the token as Bearer": (lambda c: c.ask(c.proof(), scheme="Bearer"), "credentials_missing", ""),
}  # fmt: skip


def test_there_are_as_many_as_the_suite_has() -> None:
    assert len(NEGATIVES) == 32


@pytest.mark.parametrize("name", NEGATIVES)
def test_negative_is_refused_with_the_error_of_rfc_9449(name: str, client: Client) -> None:
    send, reason, error = NEGATIVES[name]
    answer = send(client)
    assert answer.status == 401
    assert answer.json()["reason"] == reason
    (challenge,) = answer.all("WWW-Authenticate")
    assert challenge.startswith("DPoP ")
    assert 'algs="' in challenge
    assert (f'error="{error}"' in challenge) if error else ("error=" not in challenge)


ACCEPTED: Mapping[str, Sent] = {
    "a proof as it should be": lambda c: c.ask(c.proof()),
    "the field's name in upper case": lambda c: c.ask(c.proof(), field="DPOP"),
    "the scheme's name in lower case": lambda c: c.ask(c.proof(), scheme="dpop"),
    "further claims": lambda c: c.ask(c.proof(extra="x", exp=1, nonce="unasked")),
    "htu with the query of the request": lambda c: c.ask(c.proof(url=f"{URL}?a=b"), target="/accounts/7?a=b"),
    "htu without it": lambda c: c.ask(c.proof(), target="/accounts/7?a=b"),
    "scheme and host in upper case": lambda c: c.ask(c.proof(url="HTTPS://API.EXAMPLE.COM/accounts/7")),
    "the default port": lambda c: c.ask(c.proof(url="https://api.example.com:443/accounts/7")),
    "iat 10 seconds ago": lambda c: c.ask(c.proof(iat=now() - 10)),
    "iat in 10 seconds": lambda c: c.ask(c.proof(iat=now() + 10)),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_the_plan_wants_accepted_is_accepted(name: str, client: Client) -> None:
    assert ACCEPTED[name](client).status == 200
