"""A look at an issuer that is to be trusted: does it answer, is it the one, which keys does it publish?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sidecar.issuer.configuration import HttpSettings
from sidecar.issuer.http import FetchFailed, HttpClient
from sidecar.issuer.keys import NotAKeySet, PublishedKeys, load_key_set
from sidecar.issuer.metadata import Metadata, parse_metadata, parse_object, well_known_urls
from sidecar.issuer.origin import JWKS_ACCEPT
from sidecar.settings.problem import shown

_MAXIMUM_KEYS: Final = 100
_CURES: Final = {
    "dns": "check how it is written, and whether this machine can resolve it",
    "connect": "check host and port, and whether this machine may connect to it",
    "tls": "name the authority of its certificate with --ca-file; or does it speak http?",
    "status": "write it exactly as in `iss` of its tokens, with path and slash; or use --offline",
    "size": "is this the issuer? use --offline if it is",
    "parse": "write it exactly as in `iss` of its tokens, with path and slash",
    "timeout": "try again, or use --offline",
}


class NotLookedAt(Exception):
    """Why nothing is known of the issuer, and what helps: one line."""


@dataclass(frozen=True, slots=True)
class IssuerFacts:
    """What an issuer says of itself."""

    keys: int
    """Usable keys in its JWK set."""
    algorithms: tuple[str, ...]
    """What those keys are for, when each names one; empty: any of the default ones."""
    skipped: int
    """Entries of the JWK set that no key can be made of."""
    binds_to_certificates: bool
    """`tls_client_certificate_bound_access_tokens` (RFC 8705 §3.3)."""


def checked(issuer: str) -> str:
    """The identifier, if it can be one (RFC 8414 §2). Raises `NotLookedAt`."""
    try:
        url = urlsplit(issuer)
        is_url = bool(url.hostname) and url.port != 0
    except ValueError:
        is_url = False
    else:
        if url.scheme == "http":
            https = shown(f"https{issuer[4:]}")
            raise NotLookedAt(
                f"{shown(issuer)} is http, so anyone on the network can replace its keys: use {https} (RFC 8414 §2)"
            )
        is_url = (
            is_url and url.scheme == "https" and not url.query and not url.fragment and issuer.isprintable()
        )
    if not is_url:
        raise NotLookedAt(
            f"{shown(issuer)} is not an issuer: write `iss` of its tokens, such as https://as.example.com"
        )
    return issuer


async def look(issuer: str, ca_file: Path | None) -> IssuerFacts:
    """Fetch metadata and keys, as the sidecar will. Raises `NotLookedAt`."""
    checked(issuer)
    try:
        http = HttpClient.create(HttpSettings(ca_file=ca_file))
    except (OSError, ValueError) as error:
        raise NotLookedAt(f"--ca-file {ca_file}: it has no readable PEM certificates") from error
    try:
        metadata = await _metadata(issuer, http)
        if metadata.jwks_uri is None:
            raise NotLookedAt(
                f"{shown(issuer)}: its metadata has no jwks_uri: opaque tokens need introspection"
            )
        keys = await _keys(metadata.jwks_uri, http)
    except FetchFailed as failed:
        raise NotLookedAt(f"{shown(issuer)}: {failed.detail}: {_CURES[failed.phase]}") from failed
    finally:
        await http.close()
    if not len(keys):
        raise NotLookedAt(f"{shown(issuer)}: {_no_key(keys)}: without one no token can be verified")
    return IssuerFacts(len(keys), _algorithms(keys), len(keys.skipped), metadata.binds_to_certificates)


async def _metadata(issuer: str, http: HttpClient) -> Metadata:
    """The first well-known document that is there. Raises `FetchFailed`."""
    missing: FetchFailed | None = None
    for url in well_known_urls(issuer):
        try:
            fetched = await http.get(url, "application/json")
        except FetchFailed as failed:
            if failed.status != 404:
                raise
            missing = missing or FetchFailed("status", "it has no metadata there (RFC 8414): 404", 404)
        else:
            return parse_metadata(parse_object(fetched.body), issuer)
    assert missing is not None  # noqa: S101 — there are places to look at
    raise missing


async def _keys(url: str, http: HttpClient) -> PublishedKeys:
    try:
        return load_key_set(parse_object((await http.get(url, JWKS_ACCEPT)).body), _MAXIMUM_KEYS)
    except NotAKeySet as error:
        raise FetchFailed("parse", f"its jwks_uri has {error}") from error


def _no_key(keys: PublishedKeys) -> str:
    if not keys.skipped:
        return "it publishes no key"
    first = keys.skipped[0]
    return f"it publishes no key that can be used; key {first.name}: {first.reason.value}: {first.detail}"


def _algorithms(keys: PublishedKeys) -> tuple[str, ...]:
    named = [key.algorithms for key in keys.identities().values()]
    if any(len(algorithms) != 1 for algorithms in named):
        return ()
    return tuple(sorted({algorithm for algorithms in named for algorithm in algorithms}))
