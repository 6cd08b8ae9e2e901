"""A running sidecar that takes DPoP proofs (RFC 9449): what a client sees, what the API sees, what the log keeps."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sidecar.decision.nonce import Nonces
from tests.process.crew.test_workers import state
from tests.process.world import figures, generation, sidecar
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.proofs import Prover
from tests.support.recorder import Recorder
from tests.support.redis import RedisServer
from tests.support.sidecar import Sidecar, issuer, policy
from tests.support.tls_client import Response

ORIGIN = "https://api.example.com"
PROVER = Prover.create()
SERVICE: dict[str, Any] = {"protected_resource": {"resource": ORIGIN, "origins": [ORIGIN]}}
Running = tuple[Sidecar, Recorder]


@pytest.fixture
def running(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> Iterator[Running]:
    document = policy(issuers=[issuer(schemes=["Bearer", "DPoP"], algorithms=["ES256"])])
    with sidecar(tmp_path, pki, signing_key, SERVICE, policy_document=document) as pair:
        yield pair


def ask(
    one: Sidecar, token: str, *proofs: str, scheme: str = "DPoP", path: str = "/x", method: str = "GET"
) -> Response:
    fields = [("Authorization", f"{scheme} {token}"), *(("DPoP", proof) for proof in proofs)]
    with one.connect() as wire:
        return wire.request(method, path, fields)


def proof(token: str, path: str = "/x", **given: Any) -> str:
    return PROVER.proof(token, url=ORIGIN + path, **given)


def test_proof_lets_a_client_without_a_certificate_in_once(running: Running, signing_key: SigningKey) -> None:
    one, upstream = running
    token = signing_key.token(cnf=PROVER.cnf)
    used = proof(token)
    assert ask(one, token, used).status == 200
    (request,) = upstream.seen
    assert not {"dpop", "authorization"} & {name.lower() for name, _ in request.headers}
    replayed = ask(one, token, used)
    assert replayed.status == 401
    assert replayed.all("WWW-Authenticate")[0].startswith('DPoP error="invalid_dpop_proof"')
    assert replayed.all("WWW-Authenticate")[1].startswith("Bearer")
    assert ask(one, token, proof(token)).status == 200
    assert len(upstream.seen) == 2


def test_second_field_a_comma_and_a_downgrade_are_refused(running: Running, signing_key: SigningKey) -> None:
    one, upstream = running
    token = signing_key.token(cnf=PROVER.cnf)
    assert ask(one, token, proof(token), proof(token)).status == 401
    assert ask(one, token, f"{proof(token)}, {proof(token)}").status == 401
    assert ask(one, token, proof(token), scheme="Bearer").status == 401
    assert ask(one, token, proof(token, "/y")).status == 401
    assert ask(one, token, proof(token), method="POST").status == 401
    assert upstream.seen == []


def test_metadata_says_what_is_taken(running: Running) -> None:
    one, _ = running
    with one.connect() as wire:
        told = wire.request("GET", "/.well-known/oauth-protected-resource").json()
    assert told["dpop_signing_alg_values_supported"] == ["ES256", "EdDSA", "PS256"]
    assert told["dpop_bound_access_tokens_required"] is False
    assert told["tls_client_certificate_bound_access_tokens"] is True


def test_log_names_the_key_and_never_holds_the_proof(running: Running, signing_key: SigningKey) -> None:
    one, _ = running
    token = signing_key.token(cnf=PROVER.cnf, client_id="wallet")
    used = proof(token)
    for _ in range(2):
        ask(one, token, used)
    one.stop()
    first, second = [line for line in one.access_log() if line.get("client_id") == "wallet"]
    assert first["expected_key_thumbprint"] == PROVER.thumbprint
    assert second["reason"] == "proof_replayed"
    text = json.dumps(one.records())
    assert used not in text
    assert used.split(".")[1] not in text


def test_nonce_is_asked_for_and_then_taken(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> None:
    key = tmp_path / "nonce"
    key.write_text("k" * 40)
    key.chmod(0o600)
    service = {**SERVICE, "dpop": {"nonce_key_file": str(key)}}
    document = policy(issuers=[issuer(schemes=["DPoP"], dpop={"nonce": "required"}, algorithms=["ES256"])])
    with sidecar(tmp_path, pki, signing_key, service, policy_document=document) as (one, _):
        token = signing_key.token(cnf=PROVER.cnf)
        refused = ask(one, token, proof(token))
        assert refused.status == 401
        assert refused.all("WWW-Authenticate")[0].startswith('DPoP error="use_dpop_nonce"')
        (nonce,) = refused.all("DPoP-Nonce")
        assert refused.header("Cache-Control") == "no-store"
        assert ask(one, token, proof(token, nonce=nonce)).status == 200


def test_nonce_that_ages_is_renewed_with_the_response(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """RFC 9449 §8.2: one fresh nonce, with a response that is not to be stored."""
    key = tmp_path / "nonce"
    key.write_text("\n".join(("k" * 40, "o" * 40)))
    key.chmod(0o600)
    service = {**SERVICE, "dpop": {"nonce_key_file": str(key)}}
    document = policy(issuers=[issuer(schemes=["DPoP"], dpop={"nonce": "required"}, algorithms=["ES256"])])
    with sidecar(tmp_path, pki, signing_key, service, policy_document=document) as (one, upstream):
        token = signing_key.token(cnf=PROVER.cnf)
        under_the_old_key = Nonces(b"o" * 40).fresh(time.time())
        renewed = ask(one, token, proof(token, nonce=under_the_old_key))
        assert renewed.status == 200
        (fresh,) = renewed.all("DPoP-Nonce")
        assert fresh != under_the_old_key
        assert renewed.all("Cache-Control") == ["no-store"]
        assert ask(one, token, proof(token, nonce=fresh)).status == 200
        assert len(upstream.seen) == 2


@pytest.mark.real
def test_workers_and_replicas_with_one_store_permit_one_use(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """Two replicas of two workers each, the store over TLS; then it is stopped, and started again."""
    document = policy(issuers=[issuer(schemes=["DPoP"], algorithms=["ES256"])])
    token = signing_key.token(cnf=PROVER.cnf)
    with RedisServer(tmp_path, pki.server) as store:
        url, authority = tmp_path / "url", tmp_path / "store-ca.crt"
        url.write_text(store.url)
        url.chmod(0o600)
        authority.write_bytes(pki.server_authority.pem)
        place = {"store": "redis", "url_file": str(url), "ca_file": str(authority)}
        service = {**SERVICE, "workers": 2, "dpop": {"replay": place}}
        with (
            sidecar(tmp_path / "a", pki, signing_key, service, policy_document=document) as (one, _),
            sidecar(tmp_path / "b", pki, signing_key, service, policy_document=document) as (other, _),
        ):
            used = proof(token)
            with ThreadPoolExecutor(40) as threads:
                statuses = list(
                    threads.map(lambda at: ask((one, other)[at % 2], token, used).status, range(200))
                )
            assert is_one_use(statuses)
            store.stop()
            refused = ask(one, token, proof(token))
            assert (refused.status, refused.header("Retry-After")) == (503, "1")
            store.start()
            eventually(lambda: ask(one, token, proof(token)).status == 200)


def is_one_use(statuses: list[int]) -> bool:
    """One of many uses of a proof passed. On a busy machine a verdict may come too late, that of the first use as well:
    then the answer is 503, and the proof counts as used.
    """
    assert set(statuses) <= {200, 401, 503}
    return statuses.count(200) == 1 or (200 not in statuses and 503 in statuses)


def uses(one: Sidecar, token: str, used: str, times: int = 200) -> list[int]:
    with ThreadPoolExecutor(40) as threads:
        return list(threads.map(lambda _: ask(one, token, used).status, range(times)))


def test_workers_of_one_pod_permit_one_use_and_forget_none_with_a_worker(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """RFC 9449 §11.1: 200 uses at once; then a worker is killed, and whoever takes its place knows the proof."""
    document = policy(issuers=[issuer(schemes=["DPoP"], algorithms=["ES256"])])
    token = signing_key.token(cnf=PROVER.cnf)
    with sidecar(tmp_path, pki, signing_key, {**SERVICE, "workers": 2}, policy_document=document) as (one, _):
        used = proof(token)
        statuses = uses(one, token, used)
        assert is_one_use(statuses)
        assert figures(one)[("sidecar_dpop_used_proofs",)] == 1
        eventually(lambda: len(one.access_log()) == len(statuses), what="a record of each use")
        served = {line["request_id"][:16] for line in one.access_log()}
        assert len(served) == 2, "both workers were asked"
        for worker in state(one)["workers"]:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: figures(one).get(("sidecar_worker_restarts_total",)) == 2)
        eventually(lambda: figures(one)[("sidecar_workers",)] == 2)
        later = uses(one, token, used, 20)
        assert set(later) <= {401, 503}
        eventually(lambda: ask(one, token, used).status == 401)
        eventually(lambda: ask(one, token, proof(token)).status == 200)


def test_supervisor_that_does_not_answer_is_503_and_back(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    document = policy(issuers=[issuer(schemes=["DPoP"], algorithms=["ES256"])])
    token = signing_key.token(cnf=PROVER.cnf)
    with sidecar(tmp_path, pki, signing_key, {**SERVICE, "workers": 2}, policy_document=document) as (
        one,
        upstream,
    ):
        os.kill(one.process.pid, signal.SIGSTOP)
        try:
            refused = ask(one, token, proof(token))
        finally:
            os.kill(one.process.pid, signal.SIGCONT)
        assert (refused.status, refused.header("Retry-After")) == (503, "1")
        assert upstream.seen == []
        assert figures(one)[("sidecar_incidents_total", "replay_unknown")] == 1
        eventually(lambda: ask(one, token, proof(token)).status == 200)


@pytest.mark.parametrize("workers", [1, 2])
def test_figures_tell_what_became_of_proofs(
    workers: int, tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    document = policy(issuers=[issuer(schemes=["DPoP"], algorithms=["ES256"])])
    token = signing_key.token(cnf=PROVER.cnf)
    service = {**SERVICE, "workers": workers}
    with sidecar(tmp_path, pki, signing_key, service, policy_document=document) as (one, _):
        assert results(one)["proof_replayed"] == 0, "it is there before the first"
        used = [proof(token) for _ in range(3)]
        answers = [ask(one, token, given).status for given in (*used, *used, proof(token, "/y"))]
        one.write_policy({**document, "report_only": {"until": "2999-01-31"}})
        eventually(lambda: generation(one) == 2)
        answers.append(ask(one, token, proof(token)).status)
        became = ["accepted"] * 3 + ["proof_replayed"] * 3 + ["proof_target_mismatch", "accepted"]
        for at, status in enumerate(answers):  # on a busy machine the supervisor's verdict may come too late
            became[at] = "replay_unknown" if workers > 1 and status == 503 else became[at]
        assert answers == [{"accepted": 200, "replay_unknown": 503}.get(what, 401) for what in became]
        assert {name: count for name, count in results(one).items() if count} == Counter(became)
        eventually(lambda: figures(one)[("sidecar_dpop_used_proofs",)] == 4, what="each of them, late or not")


def results(one: Sidecar) -> dict[str, float]:
    return {name[1]: count for name, count in figures(one).items() if name[0] == "sidecar_dpop_proofs_total"}
