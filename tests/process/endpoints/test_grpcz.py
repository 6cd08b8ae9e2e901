"""`/grpcz`: the health of a gRPC API behind the sidecar, for a kubelet that cannot reach it."""

from pathlib import Path

import pytest

from tests.process.world import checks, get
from tests.real.grpc_api import GrpcApi
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar, listener

pytestmark = pytest.mark.real


def sidecar(folder: Path, pki: Pki, key: SigningKey, api: GrpcApi, workers: int) -> Sidecar:
    one = Sidecar(folder, pki, api.url, keys=[key])
    document = one.service_document(api.url)
    document["listeners"] = [listener(one.port) | {"protocols": ["h2", "http/1.1"]}]
    document["upstream"] = {"url": api.url, "protocol": "h2"}
    document["health"] = {**document["health"], "grpc_services": ["", "orders"]}
    document["workers"] = workers
    one.write_service(document)
    return one


def comes_to_say(one: Sidecar, path: str, answer: tuple[int, str]) -> None:
    """On a busy machine the API may be given up once or twice; what is said of it is kept for a second."""
    eventually(lambda: get(f"{one.health_url}{path}") == answer, what=f"{answer} of {path}")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_health_server_asks_the_api_for_the_services_that_are_listed(
    workers: int, tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with GrpcApi() as api:
        api.health.set("orders", 2)
        api.health.set("secret", 1)
        with sidecar(tmp_path, pki, signing_key, api, workers) as one:
            comes_to_say(one, "/grpcz", (200, "ok\n"))
            comes_to_say(one, "/grpcz?service=orders", (503, "gRPC service orders: NOT_SERVING\n"))
            status, text = get(f"{one.health_url}/grpcz?service=secret")
            assert (status, text) == (404, "not one of `health.grpc_services`\n")
            eventually(lambda: checks(one)[f"upstream 127.0.0.1:{api.port}"] == (True, ""))
            with one.connect(pki.client) as wire:
                asked = wire.request("GET", "/grpcz")
            assert asked.status == 401, "the data port never answers it on its own account"
