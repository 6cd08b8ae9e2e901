"""A `World` in front of an authorization server: what a token request costs, beside an ordinary POST of its form."""

import json
from urllib.parse import urlencode

from sidecar.authorizer import Authorizer
from sidecar.entry.authorization_server import AuthorizationServer, ServerParts
from sidecar.proxy.authorization_server.clients import registry
from sidecar.proxy.exchange.endpoints import ServerEndpoints
from tests.support.measured import World
from tests.support.token_endpoint import TokenWorld, answer

_FORM = urlencode(
    {
        "grant_type": "client_credentials",
        "client_id": "tpp-1",
        "scope": "accounts:read",
        "resource": "https://api.example.com/accounts",
    }
).encode()


class EndpointWorld(World):
    """Requests to `path`, which is an endpoint's or an ordinary one; the answer is a token response for the client."""

    path = "/token"

    def endpoints(self, decides: Authorizer) -> ServerEndpoints:
        issued = {"access_token": self.key.token(self.pki.client), "token_type": "Bearer", "expires_in": 300}
        self.response = answer(json.dumps(issued).encode())
        settings = TokenWorld(self.pki, self.folder).settings()
        parts = ServerParts(registry(settings.clients, {}), decides, None, {})
        return AuthorizationServer(settings, parts, lambda _name, _detail: None)

    def plaintext(self) -> bytes:
        bearer = f"Authorization: Bearer {self.token}\r\n" if self.path.startswith("/accounts") else ""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: api.test\r\nAccept: */*\r\n{bearer}"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(_FORM)}\r\n\r\n"
        )
        return head.encode() + _FORM
