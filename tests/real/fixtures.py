"""The real parts as fixtures, each started once per test run, on demand. Loaded by `tests/conftest.py`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import upstreams
from tests.real.clients import Curl
from tests.real.provider import OidcProvider
from tests.real.upstreams import Upstream
from tests.support.pki import Pki


@pytest.fixture(scope="session")
def oidc_provider(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[OidcProvider]:
    """npm `oidc-provider`. Shared: a test that rotates its keys starts its own."""
    with OidcProvider(tmp_path_factory.mktemp("provider"), pki) as provider:
        yield provider


@pytest.fixture(scope="session")
def flask_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.flask_upstream(tmp_path_factory.mktemp("flask")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def node_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.node_upstream(tmp_path_factory.mktemp("node")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def nginx_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.nginx_upstream(tmp_path_factory.mktemp("nginx")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def websocket_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.websocket_upstream(tmp_path_factory.mktemp("websockets")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def django_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.django_upstream(tmp_path_factory.mktemp("django")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def cgi_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.cgi_upstream(tmp_path_factory.mktemp("cgi")) as upstream:
        yield upstream


@pytest.fixture
def curl(tmp_path: Path, pki: Pki) -> Curl:
    """curl as `pki.client`, trusting the authority of the server."""
    return Curl(tmp_path, pki.server_authority.certificate, pki.client)
