"""The same odd requests through the sidecar, Envoy and nginx: every difference is known and explained."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

import pytest

from tests.differential.corpus import CORPUS
from tests.differential.outcome import outcome
from tests.differential.table import NGINX_VERSION, TABLE
from tests.real.proxies import envoy_proxy, nginx_proxy
from tests.real.upstreams import nginx_program
from tests.support.pki import Pki
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, policy
from tests.support.tls_client import Wire

pytestmark = pytest.mark.real

EVERYTHING = policy(issuers=[], rules=[{"name": "everything", "match": {}, "public": True}])


@dataclass(frozen=True, slots=True)
class Fronts:
    """Each proxy with a recording upstream of its own."""

    sidecar: Sidecar
    envoy: int
    nginx: int
    recorders: tuple[Recorder, Recorder, Recorder]

    def outcomes(self, request: bytes) -> tuple[str, str, str]:
        wires = (self.sidecar.connect(), Wire.plain(self.envoy), Wire.plain(self.nginx))
        first, second, third = zip(wires, self.recorders, strict=True)
        return outcome(*first, request), outcome(*second, request), outcome(*third, request)


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Fronts]:
    folder = tmp_path_factory.mktemp("differential")
    with ExitStack() as stack:
        recorders = tuple(stack.enter_context(Recorder()) for _ in range(3))
        first, second, third = recorders
        sidecar = Sidecar(folder / "sidecar", pki, first.url, policy_document=EVERYTHING)
        yield Fronts(
            stack.enter_context(sidecar),
            stack.enter_context(envoy_proxy(folder, second.port)),
            stack.enter_context(nginx_proxy(folder, third.port)),
            (first, second, third),
        )


@cache
def nginx_version() -> str:
    said = subprocess.run([nginx_program(), "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().rpartition("/")[2]


@pytest.mark.parametrize("name", CORPUS)
def test_cases_odd_request_is_treated_as_the_table_says(fronts: Fronts, name: str) -> None:
    row = TABLE[name]
    sidecar, envoy, nginx = fronts.outcomes(CORPUS[name])
    assert sidecar == row.sidecar
    assert envoy == (row.envoy or row.sidecar)
    if nginx_version() == NGINX_VERSION:  # another version may have changed its mind: it is not ours to pin
        assert nginx == (row.nginx or row.sidecar)


@pytest.mark.parametrize("name", [name for name, request in CORPUS.items() if len(request) < 400])
def test_cases_odd_request_that_comes_byte_by_byte_is_treated_the_same(fronts: Fronts, name: str) -> None:
    """Where a request is cut between two reads decides nothing. Each byte is a TLS record of its own."""
    said = outcome(fronts.sidecar.connect(), fronts.recorders[0], CORPUS[name], piece=1)
    assert said == TABLE[name].sidecar


def test_every_difference_of_the_table_is_explained() -> None:
    assert TABLE.keys() == CORPUS.keys()
    for name, row in TABLE.items():
        differs = any(other not in {None, row.sidecar} for other in (row.envoy, row.nginx))
        assert bool(row.why) == differs, name
