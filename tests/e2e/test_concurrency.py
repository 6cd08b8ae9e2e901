"""Many clients at once: no request ever sees what belongs to another."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki, Profile
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar

CLIENTS = 16
REQUESTS = 40


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder() as running:
        yield running


@pytest.fixture(scope="module")
def sidecar(
    tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey, recorder: Recorder
) -> Iterator[Sidecar]:
    service = {"upstream": {"identity_headers": {"X-Auth-Subject": "sub"}, "max_connections": 4}}
    folder = tmp_path_factory.mktemp("concurrency")
    with Sidecar(folder, pki, recorder.url, keys=[signing_key], service=service) as running:
        yield running


def test_cases_no_request_carries_the_claims_of_another(
    sidecar: Sidecar, recorder: Recorder, pki: Pki, signing_key: SigningKey
) -> None:
    """Each client presents its own token, and every third time its neighbour's, which must be refused. All share
    four connections to the upstream."""
    identities = [pki.client_authority.issue(Profile(f"client-{number}")) for number in range(CLIENTS)]
    start = threading.Barrier(CLIENTS)

    def tokens_of(number: int) -> tuple[str, str]:
        neighbour = identities[(number + 1) % CLIENTS]
        return (
            signing_key.token(identities[number], sub=f"client-{number}"),
            signing_key.token(neighbour, sub=f"client-{(number + 1) % CLIENTS}"),
        )

    def converse(number: int, identity: Identity) -> list[int]:
        own, stolen = tokens_of(number)
        with sidecar.connect(identity) as wire:
            start.wait(120)
            return [
                wire.request(
                    target=f"/accounts/client-{number}", token=stolen if turn % 3 == 2 else own
                ).status
                for turn in range(REQUESTS)
            ]

    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = list(pool.map(converse, range(CLIENTS), identities))
    assert statuses == [[401 if turn % 3 == 2 else 200 for turn in range(REQUESTS)]] * CLIENTS
    assert len(recorder.seen) == sum(status == 200 for one in statuses for status in one)
    for request in recorder.seen:
        assert request.all("x-auth-subject") == [request.target.removeprefix("/accounts/")]

    eventually(lambda: len(sidecar.access_log()) == CLIENTS * REQUESTS, what="one record a request")
    assert len({record["request_id"] for record in sidecar.access_log()}) == CLIENTS * REQUESTS
