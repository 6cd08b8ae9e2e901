"""What a policy file says of reaching an issuer, as frozen values."""

from dataclasses import replace
from typing import Any

from sidecar.decision.claim_names import ClaimNames
from sidecar.decision.confirmable import Confirmable
from sidecar.issuer.configuration import (
    Anonymous,
    BearerToken,
    CircuitBreakerSettings,
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    Discovery,
    HttpSettings,
    IntrospectionSettings,
    IssuerSettings,
    JwksFile,
    JwksUrl,
    KeyOrigin,
    PrivateKeyJwt,
    RefreshSettings,
    SelfSignedTlsClientAuth,
    SignedResponse,
    TlsClientAuth,
)
from sidecar.settings.dpop_sections import confirmable
from sidecar.settings.issuer_sections import (
    ClientAuthenticationSection,
    Http,
    Introspection,
    IssuerSection,
    Keys,
    Signed,
)

_ORIGINS = ("discovery", "discovery_url", "jwks_url", "jwks_file")
_ELSEWHERE = (
    "when", "same_subject", "client_id", "client_authentication", "signed", "circuit_breaker", "token_bytes",
)  # fmt: skip
_SWITCH = "insecure_private_key_readable_by_everyone"


def claim_names(section: IssuerSection) -> ClaimNames:
    """Where its tokens, and its answers about them, say what."""
    given = {name: tuple(names) for name, names in section.claim_names.given().items()}
    return ClaimNames(**given, audience=section.audience_claim)


def issuer_settings(section: IssuerSection) -> IssuerSettings:
    """How one issuer is reached."""
    accepted = confirmable(section.schemes, section.informative_confirmation)
    return IssuerSettings(
        issuer=section.issuer,
        keys=None if section.keys is None else _origin(section.keys),
        refresh=RefreshSettings() if section.keys is None else _refresh(section.keys),
        http=_http(section.http),
        introspection=None
        if section.introspection is None
        else replace(_introspection(section.introspection, accepted), claim_names=claim_names(section)),
    )


def _origin(section: Keys) -> KeyOrigin:
    if section.jwks_file is not None:
        return JwksFile(section.jwks_file)
    if section.jwks_url is not None:
        return JwksUrl(section.jwks_url)
    return Discovery(section.discovery_url)


def _refresh(section: Keys) -> RefreshSettings:
    return RefreshSettings(**{name: value for name, value in section.given().items() if name not in _ORIGINS})


def _http(section: Http) -> HttpSettings:
    return HttpSettings(**{name: value for name, value in section.given().items() if name != _SWITCH})


def _introspection(section: Introspection, accepted: Confirmable) -> IntrospectionSettings:
    given: dict[str, Any] = section.given()
    for name in _ELSEWHERE:
        given.pop(name, None)
    if section.signed is not None:
        given["signed"] = _signed(section.signed)
    if section.circuit_breaker is not None:
        given["breaker"] = CircuitBreakerSettings(**section.circuit_breaker.given())
    return IntrospectionSettings(
        client_authentication=_client_authentication(section.client_id, section.client_authentication),
        confirmable=accepted,
        **given,
    )


def _signed(section: Signed) -> SignedResponse:
    given = section.given()
    if "algorithms" in given:
        given["algorithms"] = frozenset(given["algorithms"])
    return SignedResponse(**given)


def _client_authentication(client_id: str, section: ClientAuthenticationSection) -> ClientAuthentication:
    given = {name: value for name, value in section.given().items() if name not in {"method", _SWITCH}}
    match section.method:
        case "client_secret_basic":
            return ClientSecretBasic(client_id, **given)
        case "client_secret_post":
            return ClientSecretPost(client_id, **given)
        case "private_key_jwt":
            return PrivateKeyJwt(client_id, **given)
        case "tls_client_auth":
            return TlsClientAuth(client_id, **given)
        case "self_signed_tls_client_auth":
            return SelfSignedTlsClientAuth(client_id, **given)
        case "bearer":
            return BearerToken(client_id, **given)
        case "insecure_none":
            return Anonymous(client_id)
