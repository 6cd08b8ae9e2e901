"""Real parts that several modules start."""

from collections.abc import Iterator

import pytest

from tests.real.fronted import FrontedProvider
from tests.support.pki import Pki


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[FrontedProvider]:
    """oidc-provider behind the sidecar, one for a module."""
    with FrontedProvider(tmp_path_factory.mktemp("fronted"), pki) as running:
        yield running
