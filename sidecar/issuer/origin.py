"""The origins of one issuer's keys: a file, a URL, or the `jwks_uri` of its metadata."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sidecar.issuer.configuration import JwksFile
from sidecar.issuer.http import Fetched, FetchFailed, HttpClient
from sidecar.issuer.metadata import MetadataSource, parse_object

JWKS_ACCEPT = "application/jwk-set+json, application/json"


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """A parsed document, not yet checked to be a JWK set."""

    document: Any
    max_age: float | None
    """Seconds for which it may be used (RFC 9111 §5.2.2.1); None if the response did not say."""


class KeyOrigin(Protocol):
    """A source of a JWK set."""

    @property
    def name(self) -> str:
        """Identifies the origin: saved keys are valid only for the origin that they came from."""

    @property
    def interval(self) -> float | None:
        """Seconds between checks, if the origin defines them; None: by the response and the configured limits."""

    async def fetch(self) -> FetchedKeys | None:
        """The document, or None if it has not changed. Raises `FetchFailed`."""


def max_age(headers: Fetched) -> float | None:
    """How long a private cache may keep this response: `max-age` minus `Age` (RFC 9111 §4.2.1, §5.2).

    `no-store` and `no-cache` count as 0; the configured lower limit then applies.
    """
    directives = [part.strip().lower() for part in headers.headers.get("Cache-Control", "").split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    ages = [part.partition("=")[2].strip('"') for part in directives if part.startswith("max-age=")]
    if not ages or not _is_seconds(ages[0]):
        return None
    age = headers.headers.get("Age", "0").strip()
    return max(0.0, float(ages[0]) - (float(age) if _is_seconds(age) else 0.0))


def _is_seconds(text: str) -> bool:
    """RFC 9111 §1.2.2: delta-seconds."""
    return text.isascii() and text.isdigit() and len(text) <= 10


class UrlOrigin:
    """A JWK set at a fixed URL."""

    interval = None

    def __init__(self, url: str, http: HttpClient) -> None:
        self.name = url
        self._http = http

    async def fetch(self) -> FetchedKeys:
        """Raises `FetchFailed`."""
        document = await self._http.get(self.name, JWKS_ACCEPT)
        return FetchedKeys(parse_object(document.body), max_age(document))


class DiscoveredOrigin:
    """The JWK set that the issuer's metadata names."""

    interval = None

    def __init__(self, issuer: str, metadata: MetadataSource, http: HttpClient) -> None:
        self.name = f"metadata of {issuer} at {metadata.place}"
        self._metadata = metadata
        self._http = http

    async def fetch(self) -> FetchedKeys:
        """Raises `FetchFailed`."""
        if not self._metadata.is_known:
            # The rate of key fetches is limited already: no further delay after an outage.
            self._metadata.expire()
        url = (await self._metadata.fetch()).jwks_uri
        if url is None:
            self._metadata.expire()
            raise FetchFailed("parse", "the metadata names no jwks_uri")
        try:
            document = await self._http.get(url, JWKS_ACCEPT)
        except FetchFailed:
            self._metadata.expire()  # the set may have a new URL
            raise
        return FetchedKeys(parse_object(document.body), max_age(document))


class FileOrigin:
    """A JWK set in a file. Checked every `poll_interval`, read when it has changed."""

    def __init__(self, settings: JwksFile, limit: int) -> None:
        """`limit` in bytes."""
        self.name = str(settings.path)
        self.interval = settings.poll_interval
        self._path = settings.path
        self._limit = limit
        self._seen: tuple[int, ...] | None = None

    async def fetch(self) -> FetchedKeys | None:
        """Raises `FetchFailed`."""
        return await asyncio.to_thread(self.read)

    def read(self) -> FetchedKeys | None:
        """As `fetch`; blocks."""
        try:
            state = os.stat(self._path)  # noqa: PTH116 — follows the links that Kubernetes replaces
            seen = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
            if seen == self._seen:
                return None
            body = _read_at_most(self._path, self._limit)
        except OSError as error:
            self._seen = None
            raise FetchFailed("connect", f"the file cannot be read: {error.strerror}") from error
        self._seen = seen
        return FetchedKeys(parse_object(body), None)


def _read_at_most(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        body = file.read(limit + 1)
    if len(body) > limit:
        raise FetchFailed("size", f"the file has more than {limit} bytes")
    return body
