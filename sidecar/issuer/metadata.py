"""Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0): the URLs of an issuer."""

import asyncio
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sidecar.decision.strict import Malformed, json_object
from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import Discovery
from sidecar.issuer.http import FetchFailed, HttpClient, quoted

_PAUSE_AFTER_FAILURE = 1.0
"""Seconds for which a failure is repeated to further callers without a new fetch."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The members of an issuer's metadata that matter to a protected resource (RFC 8414 §2)."""

    issuer: str
    jwks_uri: str | None
    introspection_endpoint: str | None
    mtls_introspection_endpoint: str | None
    """From `mtls_endpoint_aliases` (RFC 8705 §5)."""
    binds_to_certificates: bool = False
    """`tls_client_certificate_bound_access_tokens` (RFC 8705 §3.3)."""


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object, parsed strictly (`decision.strict`); a leading byte order mark is ignored (RFC 8259 §8.1 allows
    that). Raises `FetchFailed` (parse).
    """
    try:
        return json_object(body.removeprefix(BOM_UTF8))
    except Malformed as problem:
        raise FetchFailed("parse", f"the answer is {problem}") from None


def well_known_urls(issuer: str) -> tuple[str, ...]:
    """The possible URLs of the metadata of `issuer`, in the order of attempts.

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


def parse_metadata(document: Mapping[str, Any], issuer: str) -> Metadata:
    """The metadata in a parsed document. Raises `FetchFailed` (parse)."""
    # RFC 8414 §3.3: "The "issuer" value returned MUST be identical to the authorization server's issuer
    # identifier value ... If these values are not identical, the data contained in the response MUST NOT be used."
    named = document.get("issuer")
    if named != issuer:
        said = quoted(named) if isinstance(named, str) else "none"
        raise FetchFailed("parse", f"the metadata names another issuer: {said}, not {quoted(issuer)}")
    aliases = document.get("mtls_endpoint_aliases", {})
    if not isinstance(aliases, dict):
        raise FetchFailed("parse", "mtls_endpoint_aliases is no JSON object")
    return Metadata(
        issuer,
        _url(document, "jwks_uri"),
        _url(document, "introspection_endpoint"),
        _url(aliases, "introspection_endpoint"),
        document.get("tls_client_certificate_bound_access_tokens") is True,
    )


def _url(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None:
        return None
    try:
        host = urlsplit(value).netloc if isinstance(value, str) else ""
    except ValueError:
        host = ""
    if not isinstance(value, str) or not host:
        raise FetchFailed("parse", f"{name} is no URL")
    return value


class MetadataSource:
    """The metadata of one issuer, fetched at first use and again when it is old."""

    def __init__(
        self, issuer: str, discovery: Discovery, http: HttpClient, lifetime: float, clock: Clock
    ) -> None:
        """`lifetime` in seconds."""
        self._issuer = issuer
        self.place = discovery.url or "the well-known places"
        """The URL of the metadata."""
        self._urls = well_known_urls(issuer) if discovery.url is None else (discovery.url,)
        self._http = http
        self._lifetime = lifetime
        self._clock = clock
        self._metadata: Metadata | None = None
        self._expires = 0.0
        self._failure: FetchFailed | None = None
        self._discovering = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        """Whether there is a valid copy, even an old one."""
        return self._metadata is not None

    def expire(self) -> None:
        """Fetch again at the next use, because a URL in the metadata did not work."""
        self._expires = 0.0

    async def fetch(self) -> Metadata:
        """The metadata, or the last valid copy if it cannot be fetched. Raises `FetchFailed`."""
        async with self._discovering:
            if self._clock.monotonic() >= self._expires:
                await self._renew()
            if self._metadata is None:
                raise self._failure or FetchFailed("parse", "no metadata")
            return self._metadata

    async def _renew(self) -> None:
        try:
            self._metadata, self._failure = await self._discover(), None
            self._expires = self._clock.monotonic() + self._lifetime
        except FetchFailed as failed:
            self._failure = failed
            self._expires = self._clock.monotonic() + min(_PAUSE_AFTER_FAILURE, self._lifetime)

    async def _discover(self) -> Metadata:
        """Try the well-known URLs in turn; the first document with this exact issuer is used."""
        failures: list[FetchFailed] = []
        for url in self._urls:
            try:
                document = await self._http.get(url, "application/json")
                return parse_metadata(parse_object(document.body), self._issuer)
            except FetchFailed as failed:
                failures.append(failed)
                if failed.phase in {"dns", "connect", "tls", "timeout"}:
                    break  # the other URLs are on the same host
        raise next((failed for failed in failures if failed.status != 404), failures[0])
