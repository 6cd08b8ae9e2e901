"""An authorization server's metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3) with what the sidecar adds. Pure.

What it adds is true only because the sidecar stands in front: the two methods of RFC 8705 §2, the aliases of §5 and the
bound tokens of §3.3. The `issuer` is never changed: it is whom the tokens name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from sidecar.decision.strict import Malformed, json_object

METHODS: Final = ("tls_client_auth", "self_signed_tls_client_auth")
"""RFC 8705 §2.1.1, §2.2.1."""
MEMBERS: Final = {
    "token": "token_endpoint",
    "pushed_authorization_request": "pushed_authorization_request_endpoint",
    "introspection": "introspection_endpoint",
    "revocation": "revocation_endpoint",
}
"""An endpoint's name in the settings → its member of the metadata."""
_ALIASES: Final = "mtls_endpoint_aliases"
_BOUND: Final = "tls_client_certificate_bound_access_tokens"
_SIGNED: Final = "signed_metadata"
_SUPPORTED: Final = {
    "token": ("token_endpoint_auth_methods_supported", ("client_secret_basic",)),
    "introspection": ("introspection_endpoint_auth_methods_supported", ()),
    "revocation": ("revocation_endpoint_auth_methods_supported", ("client_secret_basic",)),
}
"""Member that lists the methods of an endpoint, and what its absence means (RFC 8414 §2)."""


class NotOverlaid(Exception):
    """The document is left unchanged; the message says why."""


@dataclass(frozen=True, slots=True)
class MetadataOverlay:
    """The additions to the metadata of one authorization server."""

    issuer: str
    """Its issuer identifier, compared exactly."""
    mtls_origin: str
    """Scheme and authority at which clients reach the sidecar."""
    paths: Mapping[str, str]
    """Endpoint, by its name in the settings → the path that clients use."""
    binds_tokens: bool = True
    """Whether issued tokens are bound to the certificate: the server is told of it."""

    def laid_over(self, document: bytes) -> bytes:
        """The document with the additions. Raises `NotOverlaid`."""
        try:
            members = json_object(document)
        except Malformed as problem:
            raise NotOverlaid(f"the metadata is {problem}") from None
        if members.get("issuer") != self.issuer:
            raise NotOverlaid("the metadata names another issuer")
        if _SIGNED in members:
            # RFC 8414 §2.1: the signed values take precedence, and nobody but their issuer can change them.
            raise NotOverlaid("the metadata is signed")
        self._add_aliases(members)
        self._add_methods(members)
        if self.binds_tokens:
            members[_BOUND] = True
        return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()

    def _add_aliases(self, members: dict[str, Any]) -> None:
        given = members.get(_ALIASES, {})
        if not isinstance(given, dict):
            raise NotOverlaid(f"{_ALIASES} is no JSON object")
        aliases = {name: self._moved(url) for name, url in given.items()}
        for name, path in self.paths.items():
            member = MEMBERS[name]
            if member in members and member not in aliases:
                aliases[member] = self.mtls_origin + path
        if aliases:
            members[_ALIASES] = aliases

    def _moved(self, url: object) -> object:
        """The alias that the server itself publishes, at our origin; what is no URL stays as it is."""
        try:
            parts = urlsplit(url) if isinstance(url, str) else None
        except ValueError:
            return url
        if parts is None or parts.scheme not in ("http", "https"):
            return url
        origin = urlsplit(self.mtls_origin)
        return urlunsplit((origin.scheme, origin.netloc, *parts[2:]))

    def _add_methods(self, members: dict[str, Any]) -> None:
        for name, (member, absent) in _SUPPORTED.items():
            if name not in self.paths or MEMBERS[name] not in members:
                continue
            told = members.get(member, [*absent])
            if not isinstance(told, list):
                raise NotOverlaid(f"{member} is no list")
            members[member] = told + [method for method in METHODS if method not in told]
