"""The metadata of an authorization server, overlaid (RFC 8414 §2, RFC 8705 §3.3, §5)."""

import json
from typing import Any

import pytest

from sidecar.entry.metadata_overlay import MetadataOverlay, NotOverlaid

ISSUER = "https://as.example.com/tenant"
PATHS = {
    "token": "/token",
    "pushed_authorization_request": "/par",
    "introspection": "/introspect",
    "revocation": "/revoke",
}
OVERLAY = MetadataOverlay(ISSUER, "https://mtls.as.example.com:8443", PATHS)
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": "https://as.example.com/token",
    "pushed_authorization_request_endpoint": "https://as.example.com/par",
    "introspection_endpoint": "https://as.example.com/introspect",
    "revocation_endpoint": "https://as.example.com/revoke",
    "userinfo_endpoint": "https://as.example.com/me",
    "token_endpoint_auth_methods_supported": ["private_key_jwt", "tls_client_auth"],
    "x_vendor": {"größe": [1, 2.5, None, True]},
}


def laid_over(document: dict[str, Any], overlay: MetadataOverlay = OVERLAY) -> dict[str, Any]:
    return dict(json.loads(overlay.laid_over(json.dumps(document).encode())))


def test_endpoints_that_are_handled_here_get_an_alias_and_no_other() -> None:
    assert laid_over(DOCUMENT)["mtls_endpoint_aliases"] == {
        "token_endpoint": "https://mtls.as.example.com:8443/token",
        "pushed_authorization_request_endpoint": "https://mtls.as.example.com:8443/par",
        "introspection_endpoint": "https://mtls.as.example.com:8443/introspect",
        "revocation_endpoint": "https://mtls.as.example.com:8443/revoke",
    }


def test_alias_of_the_server_itself_changes_its_origin_and_keeps_its_path() -> None:
    aliases = {
        "token_endpoint": "https://inside:9000/mtls/token?a=b",
        "userinfo_endpoint": "https://inside:9000/mtls/me",
        "x_odd": 7,
        "x_urn": "urn:example:1",
        "x_bad": "https://[",
    }
    overlaid = laid_over({**DOCUMENT, "mtls_endpoint_aliases": aliases})["mtls_endpoint_aliases"]
    assert overlaid["token_endpoint"] == "https://mtls.as.example.com:8443/mtls/token?a=b"
    assert overlaid["userinfo_endpoint"] == "https://mtls.as.example.com:8443/mtls/me"
    assert overlaid["revocation_endpoint"] == "https://mtls.as.example.com:8443/revoke"
    assert {name: overlaid[name] for name in ("x_odd", "x_urn", "x_bad")} == {
        "x_odd": 7,
        "x_urn": "urn:example:1",
        "x_bad": "https://[",
    }


def test_methods_are_added_once_behind_those_of_the_server() -> None:
    assert laid_over(DOCUMENT)["token_endpoint_auth_methods_supported"] == [
        "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth",
    ]  # fmt: skip


def test_methods_that_an_absent_member_stands_for_are_not_lost() -> None:
    overlaid = laid_over({name: value for name, value in DOCUMENT.items() if "methods" not in name})
    both = ["tls_client_auth", "self_signed_tls_client_auth"]
    assert overlaid["token_endpoint_auth_methods_supported"] == ["client_secret_basic", *both]
    assert overlaid["revocation_endpoint_auth_methods_supported"] == ["client_secret_basic", *both]
    assert overlaid["introspection_endpoint_auth_methods_supported"] == both


def test_everything_else_is_as_it_was_the_issuer_above_all() -> None:
    overlaid = laid_over(DOCUMENT)
    for name, value in DOCUMENT.items():
        assert overlaid[name] == value or name == "token_endpoint_auth_methods_supported"
    assert list(overlaid)[: len(DOCUMENT)] == list(DOCUMENT)


def test_bound_tokens_are_promised_only_where_the_server_is_told_of_the_certificate() -> None:
    name = "tls_client_certificate_bound_access_tokens"
    assert laid_over(DOCUMENT)[name] is True
    translated = MetadataOverlay(ISSUER, OVERLAY.mtls_origin, PATHS, binds_tokens=False)
    assert name not in laid_over(DOCUMENT, translated)
    assert laid_over({**DOCUMENT, name: False}, translated)[name] is False


def test_endpoint_that_is_not_handled_here_or_not_published_stays_as_it_is() -> None:
    overlay = MetadataOverlay(ISSUER, OVERLAY.mtls_origin, {"token": "/oauth/token", "revocation": "/revoke"})
    overlaid = laid_over({"issuer": ISSUER, "token_endpoint": "https://as.example.com/token"}, overlay)
    assert overlaid["mtls_endpoint_aliases"] == {
        "token_endpoint": "https://mtls.as.example.com:8443/oauth/token"
    }
    assert "revocation_endpoint_auth_methods_supported" not in overlaid
    assert "mtls_endpoint_aliases" not in laid_over({"issuer": ISSUER}, overlay)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"signed_metadata": "eyJ"}, "signed"),
        ({"issuer": "https://as.example.com"}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"mtls_endpoint_aliases": []}, "no JSON object"),
        ({"token_endpoint_auth_methods_supported": "client_secret_basic"}, "no list"),
    ],
)
def test_metadata_that_cannot_be_overlaid_rightly_is_left_alone(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(NotOverlaid, match=why):
        laid_over({**DOCUMENT, **changes})


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"issuer":1,"issuer":2}', b"\xff"])
def test_document_that_is_no_metadata_is_left_alone(body: bytes) -> None:
    with pytest.raises(NotOverlaid):
        OVERLAY.laid_over(body)
