"""The real parts as fixtures, each started once per test run, on demand. Loaded by `tests/conftest.py`."""

from collections.abc import Iterator

import pytest

from tests.real.provider import OidcProvider
from tests.support.pki import Pki


@pytest.fixture(scope="session")
def oidc_provider(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[OidcProvider]:
    """npm `oidc-provider`. Shared: a test that rotates its keys starts its own."""
    with OidcProvider(tmp_path_factory.mktemp("provider"), pki) as provider:
        yield provider
