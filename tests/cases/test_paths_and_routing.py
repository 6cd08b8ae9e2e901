"""Mistakes that products of this kind have made with paths and routing, and what this one does.

What the data plane does with a target before the decision (absolute form, several Hosts) is tested with it.
"""

import pytest

from sidecar.authorizer import Authorizer
from sidecar.decision.denial import Denial, Reason, shape
from sidecar.decision.matching import RequestMatch
from sidecar.decision.path import ALLOWABLE
from sidecar.http.target import matching_host
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.world import Keys, authorizer, decide, denied, head, permitted, policy, presenter, rule


@pytest.fixture
def gate(signing_key: SigningKey) -> Authorizer:
    """`/public/**` is open, `/admin/**` wants a scope that nobody has, the rest wants a token."""
    rules = (
        rule("public", "/public/**", public=True), rule("admin", "/admin/**", scopes=("admin",)), rule("rest", "/**"),
    )  # fmt: skip
    return authorizer(policy(*rules), Keys.of(signing_key))


def refusal(gate: Authorizer, target: str, token: str | None = None) -> Denial:
    return denied(decide(gate, head(token, target=target), presenter()))


DISGUISED = [
    "/public/../admin", "/public/./../admin", "/public/%2e%2e/admin", "/public/%2E%2E/admin", "/public/.%2e/admin",
    "/public/..%2fadmin", "/public/..%2Fadmin", "/public%2f..%2fadmin", "/public/..\\admin", "/public/..%5cadmin",
    "/public\\..\\admin", "/public/..;/admin", "/public/..;a=b/admin", "/public;a=b/../admin", "/public/.;/../admin",
    "/public//../admin", "/public/..//admin", "/public/%252e%252e/admin", "/public/%252e%252e%252fadmin",
    "/public/..%00/admin", "/public/..%3F/admin", "/public/..%23/admin", "/public/..#/admin",
    "/public/%c0%ae%c0%ae/admin",
    "/public/..%c0%afadmin", "/public/..%ef%bc%8f/../admin",
]  # fmt: skip


@pytest.mark.parametrize("target", DISGUISED)
def test_no_disguise_of_the_upper_directory_leads_out_of_a_public_rule(target: str, gate: Authorizer) -> None:
    """https://github.com/envoyproxy/envoy/issues/6435 https://github.com/envoyproxy/envoy/issues/16460
    https://github.com/istio/istio/issues/27409
    https://github.com/ory/oathkeeper/security/advisories/GHSA-p224-6x5r-fjpm
    https://github.com/golang/vulndb/issues/5097
    """
    denial = refusal(gate, target)
    assert denial.reason is Reason.PATH_AMBIGUOUS
    assert shape(denial.reason).status == 400


@pytest.mark.parametrize("target", DISGUISED)
def test_no_allowance_lets_a_disguised_directory_pass(target: str, signing_key: SigningKey) -> None:
    lax = rule("public", "/**", public=True, allow_ambiguous_paths=frozenset(ALLOWABLE))
    denial = refusal(authorizer(policy(lax), Keys.of(signing_key)), target)
    assert denial.reason is Reason.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    "target",
    ["/public%2fx", "/public%2Fx", "/public\\x", "/public%5cx", "//public/x", "/public//x", "/public/x;a=b",
     "/public/x%3Ba=b", "/public/%00", "/public/x%0d%0a", "/public/x#y", "/public/x%3fy", "/public/%61dmin",
     "/public/%2561", "/public/%zz", "/public/%", "/public/\u00e9", "/public/\x7f"],
)  # fmt: skip
def test_path_that_two_readers_could_read_differently_is_refused(target: str, gate: Authorizer) -> None:
    """https://github.com/envoyproxy/envoy/issues/16460 https://github.com/istio/istio/issues/27409
    https://nvd.nist.gov/vuln/detail/CVE-2021-32779 https://github.com/golang/vulndb/issues/5108
    """
    assert refusal(gate, target).reason is Reason.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    ("target", "rule_name"),
    [
        ("/public/a.b-c_d~e", "public"), ("/public/.well-known/x", "public"), ("/public/...", "public"),
        ("/public/..a", "public"), ("/public/a..", "public"), ("/public/caf%C3%A9", "public"),
        ("/public/a%20b", "public"),
        ("/public/a@b:c,d=e+f!$&'()*", "public"), ("/public/100%25", "public"), ("/public/a%40b", "public"),
        ("/public/", "public"), ("/public", "public"), ("/public/x?a=/../;//%2f#", "public"),
    ],
)  # fmt: skip
def test_ordinary_path_is_not_taken_for_an_attack(target: str, rule_name: str, gate: Authorizer) -> None:
    """Decoding too eagerly breaks real APIs: https://github.com/defenseunicorns/uds-core/issues/288"""
    assert permitted(decide(gate, head(target=target), presenter())).rule.name == rule_name


def test_rule_may_let_an_ambiguity_through_by_name(signing_key: SigningKey, pki: Pki) -> None:
    """Project names with an escaped slash: https://github.com/defenseunicorns/uds-core/issues/288"""
    lax = rule("projects", "/api/v4/projects/**", allow_ambiguous_paths=frozenset({"encoded_slash"}))
    gate = authorizer(policy(lax), Keys.of(signing_key))
    request = head(signing_key.token(pki.client), target="/api/v4/projects/group%2Fproject/issues")
    assert permitted(decide(gate, request, presenter(pki.client))).rule.name == "projects"
    assert request.target == "/api/v4/projects/group%2Fproject/issues"
    assert refusal(gate, "/api/v4/projects/group%2Fproject;v=1").reason is Reason.PATH_AMBIGUOUS


def test_allowance_of_one_rule_never_opens_another(signing_key: SigningKey) -> None:
    lax = rule("rest", "/**", public=True, allow_ambiguous_paths=frozenset(ALLOWABLE))
    gate = authorizer(policy(rule("admin", "/admin/**"), lax), Keys.of(signing_key))
    for target in (
        "/admin;x/users",
        "/admin%2Fusers",
        "//admin/users",
        "/admin\\users",
        "/admin%3Fx",
        "/%61dmin/x",
    ):
        denial = refusal(gate, target)
        assert denial.reason in {Reason.PATH_AMBIGUOUS, Reason.CREDENTIALS_MISSING}, target
    assert permitted(decide(gate, head(target="/blog;x/users"), presenter())).rule.name == "rest"


def test_escapes_of_the_same_character_are_one_path(signing_key: SigningKey) -> None:
    """An escape may be written in either case, and a reserved character escaped or not; a rule sees through both.

    https://github.com/golang/vulndb/issues/5108
    """
    rules = rule("guarded", "/caf%C3%A9/@admin/**"), rule("rest", "/**", public=True)
    gate = authorizer(policy(*rules), Keys.of(signing_key))
    for target in ("/caf%C3%A9/@admin/x", "/caf%c3%a9/@admin/x", "/caf%C3%A9/%40admin/x"):
        assert refusal(gate, target).reason is Reason.CREDENTIALS_MISSING


@pytest.mark.parametrize("host", ["api.example.com"])
def test_host_is_matched_as_the_data_plane_normalised_it(host: str, signing_key: SigningKey) -> None:
    """https://github.com/golang/vulndb/issues/5200"""
    gate = authorizer(
        policy(rule("api", match=RequestMatch(hosts=frozenset({host})), public=True)), Keys.of(signing_key)
    )
    for spelling in (
        "api.example.com",
        "API.Example.COM",
        "api.example.com:8443",
        "api.example.com.",
        "Api.example.com.:1",
    ):
        assert permitted(decide(gate, head(host=matching_host(spelling)), presenter())).rule.name == "api"
    for other in ("api.example.com.evil.org", "xapi.example.com", "", "api.example.co"):
        assert (
            denied(decide(gate, head(host=matching_host(other)), presenter())).reason is Reason.RULE_UNMATCHED
        )


def test_no_header_chooses_the_rule(gate: Authorizer) -> None:
    """A request head has no other header for a rule to look at, so none can choose one.

    `Authorization` and `DPoP` bring credentials, and what marks a preflight is no choice.

    https://github.com/oauth2-proxy/oauth2-proxy/issues/3506 https://github.com/golang/vulndb/issues/5147
    https://github.com/golang/vulndb/issues/1690
    """
    request = head(target="/rest")
    assert {name for name in dir(request) if not name.startswith("_")} == {
        "method", "target", "path", "query", "query_names", "folded_query_names", "host", "authorization", "preflight",
        "proofs",
    }  # fmt: skip
    assert denied(decide(gate, request, presenter())).reason is Reason.CREDENTIALS_MISSING


@pytest.mark.parametrize("method", ["get", "Get", "GET ", "POST", "", "G\u0415T"])
def test_method_is_case_sensitive(method: str, signing_key: SigningKey) -> None:
    """RFC 9110 §9.1: "The method token is case-sensitive"."""
    gate = authorizer(
        policy(rule("get", match=RequestMatch(methods=frozenset({"GET"})), public=True)), Keys.of(signing_key)
    )
    assert denied(decide(gate, head(method=method), presenter())).reason is Reason.RULE_UNMATCHED
    assert permitted(decide(gate, head(method="GET"), presenter())).rule.name == "get"
