"""Protected resource metadata (RFC 9728), rendered from the policy."""

import json

import pytest

from sidecar.decision.confirmable import Confirmable
from sidecar.decision.resource_metadata import resource_metadata
from tests.support.world import issuer_policy, policy, rule

RESOURCE = "https://api.example.com"


def test_document_says_what_the_policy_says() -> None:
    given = policy(
        rule("read", scopes=("accounts:read",)),
        rule("write", any_scope=("accounts:write", "accounts:admin")),
        issuers=[issuer_policy("https://b.example.com"), issuer_policy("https://a.example.com")],
    )
    assert json.loads(resource_metadata(RESOURCE, given).document) == {
        "resource": RESOURCE,
        "authorization_servers": ["https://a.example.com", "https://b.example.com"],
        "scopes_supported": ["accounts:admin", "accounts:read", "accounts:write"],
        "bearer_methods_supported": ["header"],
        "tls_client_certificate_bound_access_tokens": True,
    }


@pytest.mark.parametrize(
    ("schemes", "told"),
    [
        (("Bearer",), {"tls_client_certificate_bound_access_tokens": True}),
        (
            ("DPoP",),
            {
                "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256"],
                "dpop_bound_access_tokens_required": True,
            },
        ),
        (
            ("Bearer", "DPoP"),
            {
                "tls_client_certificate_bound_access_tokens": True,
                "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256"],
                "dpop_bound_access_tokens_required": False,
            },
        ),
    ],
)
def test_ways_to_bind_a_token_are_told_only_where_they_are_taken(
    schemes: tuple[str, ...], told: dict[str, object]
) -> None:
    given = policy(rule(), issuers=[issuer_policy(confirmable=Confirmable(schemes))])
    document = json.loads(resource_metadata(RESOURCE, given).document)
    assert {name: value for name, value in document.items() if "bound" in name or "dpop" in name} == told


def test_member_without_values_is_left_out() -> None:
    # RFC 9728 §3.2: "Claims with zero elements MUST be omitted from the response."
    document = json.loads(resource_metadata(RESOURCE, policy(rule(), issuers=[])).document)
    assert "scopes_supported" not in document
    assert "authorization_servers" not in document


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://api.example.com", "https://api.example.com/.well-known/oauth-protected-resource"),
        ("https://api.example.com/", "https://api.example.com/.well-known/oauth-protected-resource"),
        (
            "https://api.example.com/v1/pay",
            "https://api.example.com/.well-known/oauth-protected-resource/v1/pay",
        ),
        (
            "https://api.example.com:8443/v1?tenant=a",
            "https://api.example.com:8443/.well-known/oauth-protected-resource/v1?tenant=a",
        ),
    ],
)
def test_well_known_part_goes_between_host_and_path(resource: str, url: str) -> None:
    metadata = resource_metadata(resource, policy())
    assert metadata.url == url
    assert metadata.path == url.removeprefix("https://").partition("/")[2].partition("?")[0].join(["/", ""])
    assert json.loads(metadata.document)["resource"] == resource


@pytest.mark.parametrize(
    "resource", ["http://api.example.com", "https://", "api", "https://api.example.com/#a", "https://api#"]
)
def test_identifier_that_is_no_https_url_or_has_a_fragment_is_refused(resource: str) -> None:
    with pytest.raises(ValueError, match="https URL without fragment"):
        resource_metadata(resource, policy())
