"""Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0): where an issuer keeps what we need."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import Discovery
from sidecar.issuer.http import FetchFailed, HttpClient


@dataclass(frozen=True, slots=True)
class Metadata:
    """The members of an issuer's metadata that matter to a protected resource (RFC 8414 §2)."""

    issuer: str
    jwks_uri: str | None
    introspection_endpoint: str | None
    mtls_introspection_endpoint: str | None
    """Of `mtls_endpoint_aliases` (RFC 8705 §5)."""


def parse_json(body: bytes) -> Any:
    """A JSON text in UTF-8 whose objects name nothing twice. Raises `FetchFailed` (parse)."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise FetchFailed("parse", "the answer is not clean JSON") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _constant(name: str) -> float:
    raise ValueError(name)


def well_known_urls(issuer: str) -> tuple[str, ...]:
    """Where the metadata of `issuer` may be, in the order they are asked.

    RFC 8414 §3.1 inserts the well-known part between host and path; OpenID Connect Discovery §4 appends it.
    """
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    urls = (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/openid-configuration{path}",
    )
    return tuple(dict.fromkeys(urls))


def parse_metadata(document: object, issuer: str) -> Metadata:
    """The metadata in a parsed document. Raises `FetchFailed` (parse)."""
    if not isinstance(document, dict):
        raise FetchFailed("parse", "the metadata is no JSON object")
    # RFC 8414 §3.3: "The "issuer" value returned MUST be identical to the authorization server's issuer
    # identifier value ... If these values are not identical, the data contained in the response MUST NOT be used."
    if document.get("issuer") != issuer:
        raise FetchFailed("parse", "the metadata names another issuer than the configured one")
    aliases = document.get("mtls_endpoint_aliases", {})
    if not isinstance(aliases, dict):
        raise FetchFailed("parse", "mtls_endpoint_aliases is no JSON object")
    return Metadata(
        issuer,
        _url(document, "jwks_uri"),
        _url(document, "introspection_endpoint"),
        _url(aliases, "introspection_endpoint"),
    )


def _url(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not urlsplit(value).netloc:
        raise FetchFailed("parse", f"{name} is no URL")
    return value


class MetadataSource:
    """The metadata of one issuer, fetched when first needed and again when it is old."""

    def __init__(
        self, issuer: str, discovery: Discovery, http: HttpClient, lifetime: float, clock: Clock
    ) -> None:
        """`lifetime` in seconds."""
        self._issuer = issuer
        self._urls = well_known_urls(issuer) if discovery.url is None else (discovery.url,)
        self._http = http
        self._lifetime = lifetime
        self._clock = clock
        self._metadata: Metadata | None = None
        self._expires = 0.0

    def expire(self) -> None:
        """What it names did not work: ask again next time."""
        self._expires = 0.0

    async def fetch(self) -> Metadata:
        """The metadata; when a new copy cannot be had, the last good one. Raises `FetchFailed`."""
        if self._metadata is not None and self._clock.monotonic() < self._expires:
            return self._metadata
        try:
            self._metadata = await self._discover()
            self._expires = self._clock.monotonic() + self._lifetime
        except FetchFailed:
            if self._metadata is None:
                raise
        return self._metadata

    async def _discover(self) -> Metadata:
        """Asks the well-known places in turn; the first document that names this very issuer counts."""
        failures: list[FetchFailed] = []
        for url in self._urls:
            try:
                document = await self._http.get(url, "application/json")
                return parse_metadata(parse_json(document.body), self._issuer)
            except FetchFailed as failed:
                failures.append(failed)
                if failed.phase in {"dns", "connect", "tls", "timeout"}:
                    break  # the other places are on the same host
        raise next((failed for failed in failures if failed.status != 404), failures[0])
