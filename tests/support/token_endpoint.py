"""An authorization server's endpoints in front of a `Conversation`: a few clients, and forms as they send them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sidecar.decision.registered_client.method import ClientMethod
from sidecar.decision.registered_client.name import NameKind, registered_name
from sidecar.decision.strict import Malformed
from sidecar.entry.authorization_server import (
    AuthorizationServer,
    ServerParts,
    extra_headers,
    translations,
)
from sidecar.http.certificate_field import CertificateFormat
from sidecar.issuer.configuration import ClientSecretBasic, ClientSecretPost, PrivateKeyJwt
from sidecar.proxy.authorization_server.clients import registry
from sidecar.proxy.authorization_server.configuration import (
    AuthoritySettings,
    AuthorizationServerSettings,
    ClientSettings,
    EndpointKind,
    EndpointSettings,
    HandOverSettings,
    Translation,
)
from sidecar.proxy.configuration import CertificateHeaderSettings
from tests.support.conversation import Conversation
from tests.support.deciding import Gate, Observed
from tests.support.pki import Pki

ISSUER = "https://as.example.com"
RFC9440 = CertificateHeaderSettings(CertificateFormat.RFC9440, "Client-Cert")
HANDS_OVER = HandOverSettings(header=RFC9440)
ENDPOINTS = tuple(
    EndpointSettings(kind, public, upstream)
    for kind, public, upstream in [
        (EndpointKind.TOKEN, "/token", "/token"),
        (EndpointKind.PUSHED_AUTHORIZATION_REQUEST, "/par", "/request"),
        (EndpointKind.INTROSPECTION, "/introspect", "/introspect"),
        (EndpointKind.REVOCATION, "/revoke", "/revoke"),
    ]
)


class Answers:
    """Who is asked about opaque tokens: by token, the members of the answer, or what is wrong with it."""

    def __init__(self) -> None:
        self.known: dict[str, Mapping[str, object] | Malformed] = {}
        self.asked: list[tuple[str, str]] = []
        self.waits: asyncio.Future[None] | None = None
        """Until this is done there is no answer."""

    async def members(self, token: str, source: str) -> Mapping[str, object] | None:
        self.asked.append((token, source))
        if self.waits is not None:
            await self.waits
        answer = self.known.get(token)
        if isinstance(answer, Malformed):
            raise answer
        return answer


@dataclass
class TokenWorld:
    """The settings of one server, and its clients."""

    pki: Pki
    folder: Path
    answers: Answers = field(default_factory=Answers)
    asks: bool = True
    """Whether anybody can be asked about opaque tokens."""
    translation: dict[str, Translation] = field(default_factory=dict)

    def clients(self) -> tuple[ClientSettings, ...]:
        authority = self.folder / "clients.pem"
        authority.write_bytes(self.pki.client_authority.pem)
        named = ClientSettings(
            "tpp-1",
            ClientMethod.TLS_CLIENT_AUTH,
            "clients.yaml:1",
            name=registered_name(NameKind.SAN_DNS, "client-1.example"),
            authority=AuthoritySettings(authority),
        )
        lone = ClientSettings(
            "lone",
            ClientMethod.SELF_SIGNED_TLS_CLIENT_AUTH,
            "clients.yaml:2",
            thumbprints=frozenset({self.pki.self_signed_client.presented.thumbprint}),
        )
        old = ClientSettings("old", ClientMethod.OTHER, "clients.yaml:3")
        told = ClientSettings("told", ClientMethod.OTHER, "clients.yaml:4", hands_certificate=True)
        return tuple(
            replace(one, translation=self.translation.get(one.client_id)) for one in (named, lone, old, told)
        )

    def settings(self, **changes: Any) -> AuthorizationServerSettings:
        given = AuthorizationServerSettings(ISSUER, ENDPOINTS, self.clients(), HANDS_OVER)
        return replace(given, **changes)

    def endpoints(
        self, settings: AuthorizationServerSettings
    ) -> Callable[[Gate, Observed], AuthorizationServer]:
        def make(gate: Gate, observed: Observed) -> AuthorizationServer:
            parts = ServerParts(
                registry(settings.clients, {}),
                gate,
                self.answers if self.asks else None,
                translations(settings),
                extra_headers(settings),
            )
            return AuthorizationServer(settings, parts, observed.incident)

        return make

    def conversation(self, *, expected_bugs: int = 0, **changes: Any) -> Conversation:
        settings = self.settings(**changes)
        talk = Conversation(
            endpoints=self.endpoints(settings),
            hand_over_headers=settings.hand_over_names,
            expected_bugs=expected_bugs,
        )
        talk.wall = time.time()
        return talk

    def translates(self, client_id: str, method: str, secret: bytes = b"s+cret %&") -> None:
        file = self.folder / f"{client_id}.secret"
        file.write_bytes(secret)
        kinds: dict[str, Translation] = {
            "client_secret_basic": ClientSecretBasic(client_id, file),
            "client_secret_post": ClientSecretPost(client_id, file),
            "private_key_jwt": PrivateKeyJwt(client_id, file),
        }
        self.translation[client_id] = kinds[method]


def form(path: str = "/token", *lines: bytes, body: bytes | None = None, **parameters: str) -> bytes:
    """A request to an endpoint; `lines` are more field lines."""
    data = urlencode({"grant_type": "client_credentials", **parameters}).encode() if body is None else body
    head = [
        f"POST {path} HTTP/1.1".encode(),
        b"Host: as.example.com",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: %d" % len(data),
        *lines,
    ]
    return b"\r\n".join([*head, b"", data])


def answer(body: bytes, status: bytes = b"200 OK", *lines: bytes) -> bytes:
    """What the server answers, in JSON unless told otherwise."""
    kind = (
        ()
        if any(line.lower().startswith(b"content-type") for line in lines)
        else (b"Content-Type: application/json",)
    )
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *kind, *lines]
    return b"\r\n".join([*head, b"", body])
