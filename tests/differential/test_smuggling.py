"""No request rides into the upstream inside another one."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.differential.outcome import first_status
from tests.differential.smuggling import shapes
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar


@dataclass(frozen=True, slots=True)
class Front:
    sidecar: Sidecar
    recorder: Recorder
    requests: dict[str, bytes]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("smuggling")
    with Recorder() as recorder, Sidecar(folder, pki, recorder.url, keys=[signing_key]) as sidecar:
        yield Front(sidecar, recorder, dict(shapes(signing_key.token(pki.client))))


@pytest.mark.parametrize("shape", [name for name, _ in shapes("")])
def test_cases_smuggled_request_never_reaches_the_upstream(front: Front, pki: Pki, shape: str) -> None:
    """The outer request is refused, or it is the one request that the upstream sees."""
    front.recorder.clear()
    status = first_status(front.sidecar.connect(pki.client), front.requests[shape])
    assert front.recorder.broken == []
    targets = [one.target for one in front.recorder.seen]
    if status == 200:
        assert targets == ["/accounts/1"]
    else:
        assert status >= 400
        assert targets == []
