"""What client libraries make of the answers at a token endpoint: the table in docs/authorization-server.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_authorization_server import claims
from tests.process.world import generation
from tests.real.fronted import FrontedProvider, in_front
from tests.real.token_clients import LIBRARIES, ask
from tests.support.pki import Pki
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, provider: FrontedProvider) -> Iterator[Sidecar]:
    with in_front(tmp_path_factory.mktemp("front"), provider) as running:
        (running.folder / "clients" / "post.secret").write_text("another secret than the server's")
        eventually(lambda: generation(running) > 1, what="the reload")
        yield running


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_gets_a_bound_token(
    library: str, front: Sidecar, provider: FrontedProvider, pki: Pki, tmp_path: Path
) -> None:
    token = ask(library, tmp_path, pki, provider.issuer, ("client-1", pki.client))["token"]
    assert claims(token)["cnf"] == {"x5t#S256": pki.client.thumbprint}


TOLD = {
    "openid-client": ("`ResponseBodyError`, `error: invalid_client`", "`ClientError`, `OAUTH_RESPONSE_IS_NOT_CONFORM`"),
    "oauth4webapi": (
        "`ResponseBodyError`, `error: invalid_client`", "`OperationProcessingError`, `OAUTH_RESPONSE_IS_NOT_CONFORM`",
    ),
    "Authlib": ("`OAuthError`, `error: invalid_client`", "`HTTPError` 502"),
    "curl": ("exit code 22, `invalid_client`", "exit code 22, `server_error`"),
}  # fmt: skip
"""What a program sees of 400 `invalid_client`, and of 502 `server_error`."""


def as_told(answer: dict[str, Any]) -> str:
    name, error, code = answer.get("name", ""), answer.get("error"), answer.get("code")
    if name.startswith("exit code"):
        return f"{name}, `{error}`"
    if error:
        return f"`{name}`, `error: {error}`"
    return f"`{name}`, `{code}`" if code else f"`{name}` {answer.get('status')}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_tells_a_refused_client_from_a_server_that_is_at_fault(
    library: str, front: Sidecar, provider: FrontedProvider, pki: Pki, tmp_path: Path
) -> None:
    refused, fault = TOLD[library]
    for client_id in ("client-1", "nobody"):
        answer = ask(library, tmp_path, pki, provider.issuer, (client_id, pki.other_client))
        assert as_told(answer) == refused
    assert as_told(ask(library, tmp_path, pki, provider.issuer, ("post", pki.client))) == fault


def test_table_in_the_documentation_is_what_the_libraries_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "authorization-server.md").read_text()
    for library, (refused, fault) in TOLD.items():
        assert f"| {library} | {refused} | {fault} |" in page
