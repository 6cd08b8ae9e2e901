"""In front of an authorization server: its endpoints, made from one configuration (RFC 8705 §2).

Fulfils `proxy.exchange.endpoints.ServerEndpoints`, which the data plane asks of each request.
"""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from sidecar.decision.access_token import AccessToken
from sidecar.decision.denial import Denial
from sidecar.decision.failure import Denied
from sidecar.decision.match import RequestMatch
from sidecar.decision.policy import Rule
from sidecar.decision.ports import IssuerUnavailable, TokenIntrospector
from sidecar.decision.reason import Reason
from sidecar.decision.registered_client.registry import ClientRegistry
from sidecar.decision.request import RequestHead
from sidecar.decision.strict import Malformed
from sidecar.entry.endpoint_paths import EndpointPaths
from sidecar.entry.hand_over import HandOver
from sidecar.entry.metadata_course import MetadataCourse
from sidecar.entry.metadata_overlay import MetadataOverlay
from sidecar.entry.token_course import AsksAboutTokens, EndpointTerms, TokenCourse
from sidecar.issuer.client_authentication import ClientAuthenticator, client_authenticator
from sidecar.issuer.clock import SYSTEM_CLOCK, Clock
from sidecar.issuer.metadata import well_known_urls
from sidecar.proxy.authorization_server.configuration import (
    AuditBinding,
    AuthorizationServerSettings,
    EndpointKind,
)
from sidecar.proxy.authorization_server.extra_headers import parse_extra_headers
from sidecar.proxy.exchange.endpoints import Course, ServerEndpoints
from sidecar.proxy.exchange.snapshot import Authorizes

RULE: Final = "authorization_server"
"""What records and metrics call the rule under which a request to an endpoint passes, with the endpoint's name."""
_METADATA: Final = "metadata"

Incident = Callable[[str, str], None]
"""Takes the name of an incident, and a detail."""


class IssuerAnswers:
    """Asks one issuer of the policy. Implements `AsksAboutTokens`."""

    def __init__(self, introspector: TokenIntrospector, issuer: str, digest_key: bytes) -> None:
        self._introspector = introspector
        self._issuer = issuer
        self._digest_key = digest_key

    async def members(self, token: str, source: str) -> Mapping[str, object] | None:
        """See `AsksAboutTokens`."""
        try:
            answer = await self._introspector.introspect(
                AccessToken(token, self._digest_key), self._issuer, source
            )
        except IssuerUnavailable:
            return None
        except Denied as denied:
            raise Malformed(f"none: {denied.failure.check} is {denied.failure.presented}") from None
        if isinstance(answer, bool):
            raise Malformed("that the token which it has just issued is not active")
        return answer.claims


class ServerParts:
    """What a configuration is made into besides: it takes time, files or connections."""

    __slots__ = ("authorizer", "extra_headers", "introspection", "registry", "translations")

    def __init__(
        self,
        registry: ClientRegistry,
        authorizer: Authorizes,
        introspection: AsksAboutTokens | None,
        translations: Mapping[str, ClientAuthenticator],
        extra_headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.registry = registry
        self.authorizer = authorizer
        """Decides about everything but the endpoints."""
        self.introspection = introspection
        self.translations = translations
        self.extra_headers = extra_headers


def translations(
    settings: AuthorizationServerSettings, clock: Clock = SYSTEM_CLOCK
) -> dict[str, ClientAuthenticator]:
    """By client. Reads the files of secrets and keys: not on the event loop. Raises `OSError`, `ValueError`."""
    return {
        one.client_id: client_authenticator(one.translation, settings.issuer, clock)
        for one in settings.clients
        if one.translation is not None
    }


def extra_headers(settings: AuthorizationServerSettings) -> tuple[tuple[bytes, bytes], ...]:
    """The fields of `extra_headers_file`. Raises `OSError`, `ValueError`."""
    file = settings.hand_over.extra_headers_file
    return () if file is None else parse_extra_headers(file.read_bytes())


def endpoint_paths(settings: AuthorizationServerSettings) -> EndpointPaths:
    """Where the endpoints are, and what could be taken for them."""
    public = {one.public: one.kind.value for one in settings.endpoints}
    return EndpointPaths(
        public, hidden=frozenset(one.upstream for one in settings.endpoints) - frozenset(public)
    )


class AuthorizationServer(ServerEndpoints):
    """The endpoints of one server, under one configuration."""

    def __init__(self, settings: AuthorizationServerSettings, parts: ServerParts, incident: Incident) -> None:
        self._incident = incident
        self._authorizer = parts.authorizer
        hand_over = HandOver(settings.hand_over, parts.extra_headers)
        upstream = {one.kind: one.upstream for one in settings.endpoints}
        self._terms = {
            one.kind.value: self._endpoint(one.kind, settings, parts, upstream, hand_over)
            for one in settings.endpoints
        }
        self._paths = endpoint_paths(settings)
        self._overlay: MetadataOverlay | None = None
        self._metadata: frozenset[bytes] = frozenset()
        if settings.metadata is not None:
            paths = {one.kind.value: one.public for one in settings.endpoints}
            self._overlay = MetadataOverlay(
                settings.issuer, settings.metadata.mtls_origin, paths, binds_tokens=hand_over.tells
            )
            paths_of = [urlsplit(url).path for url in well_known_urls(settings.issuer)]
            self._metadata = frozenset([one.encode("latin-1") for one in paths_of])
        self._host = urlsplit(settings.issuer).netloc.encode("ascii")

    def _endpoint(
        self,
        kind: EndpointKind,
        settings: AuthorizationServerSettings,
        parts: ServerParts,
        upstream: Mapping[EndpointKind, str],
        hand_over: HandOver,
    ) -> EndpointTerms:
        revocation = upstream.get(EndpointKind.REVOCATION)
        return EndpointTerms(
            Rule(f"{RULE}.{kind.value}", RequestMatch()),
            upstream=upstream[kind].encode("ascii"),
            registry=parts.registry,
            hand_over=hand_over,
            translations=dict(parts.translations),
            reports_until=settings.report_only_until or 0.0,
            issues_tokens=kind is EndpointKind.TOKEN,
            refuses_unbound=settings.audit_binding is AuditBinding.REFUSE,
            introspection=parts.introspection,
            revocation=None if revocation is None else revocation.encode("ascii"),
            on_refused_credentials=self._refused_credentials,
        )

    def _refused_credentials(self, client_id: str) -> None:
        self._incident("server_credentials_refused", f"of client {client_id}")

    def _left_alone(self, why: str) -> None:
        self._incident("metadata_left_alone", why)

    # --- what the data plane asks

    def covers(self, target: bytes) -> bool:
        """Whether some server may read a request target as an endpoint, or whether it is the metadata's."""
        return self._paths.covers(target) or self._is_metadata(target)

    def _is_metadata(self, target: bytes) -> bool:
        return self._overlay is not None and target.partition(b"?")[0] in self._metadata

    def course(self, head: RequestHead) -> Course | Denial:
        """The `Course` of a request to an endpoint, or its denial."""
        name = self._paths.named(head.path)
        if name is not None:
            return TokenCourse(self._terms[name])
        if self._overlay is not None and head.path.encode("latin-1", "replace") in self._metadata:
            return MetadataCourse(self._overlay, self._host, self._authorizer, self._left_alone)
        return Denial(Reason.ENDPOINT_UNKNOWN, rule=RULE)
