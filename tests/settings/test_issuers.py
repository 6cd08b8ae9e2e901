"""What a policy says of issuers arrives, and every mistake in it is named at its place."""

import pytest

from sidecar.decision.policy import Binding, IntrospectWhen, ReportOnly
from tests.support.configuration import ISSUER, POLICY, Configuration
from tests.support.pki import Pki, make_key, private_key_pem

ASKS = "{discovery: true}\n    introspection: {when: opaque, client_id: a, client_authentication"
JANUARY_31 = 1801353600  # 2027-01-31T00:00:00Z


def test_everything_an_issuer_can_say(configuration: Configuration, pki: Pki) -> None:
    (configuration.folder / "policies" / "secret").write_text("s3cret")
    (configuration.folder / "policies" / "secret").chmod(0o600)
    configuration.write_policy(
        """\
issuers:
  - issuer: https://as.example.com
    audience: [https://api.example.com, urn:api]
    keys: {jwks_url: https://as.example.com/jwks, maximum_interval: 10m, staleness_budget: 1h, maximum_keys: 5}
    http: {timeout: 2s, document_bytes: 1KiB}
    algorithms: [ES256, Ed25519]
    token_types: [at+jwt, application/at+jwt, ""]
    binding: if_bound
    clock_skew: 10s
    report_only: {until: 2027-01-31}
    introspection:
      when: always
      endpoint: https://as.example.com/introspect
      client_id: api
      client_authentication: {method: client_secret_basic, client_secret_file: secret}
      active_lifetime: 5s
      token_bytes: 1KiB
      signed: {algorithms: [PS256], maximum_age: 30s}
      circuit_breaker: {failures: 2}
rules: []
"""
    )
    loaded = configuration.load()
    policy = loaded.policy.issuers["https://as.example.com"]
    assert policy.audience == {"https://api.example.com", "urn:api"}
    assert policy.algorithms == {"ES256", "Ed25519"}
    assert policy.token_types == {"at+jwt", ""}
    assert (policy.binding, policy.clock_skew) == (Binding.IF_BOUND, 10)
    assert policy.opaque_token_bytes == 1024
    assert (policy.introspect, policy.report_only) == (IntrospectWhen.ALWAYS, ReportOnly(JANUARY_31))
    (settings,) = loaded.issuers.issuers
    assert (settings.refresh.maximum_interval, settings.refresh.staleness_budget) == (600, 3600)
    assert (settings.http.timeout, settings.http.document_bytes) == (2, 1024)
    asks = settings.introspection
    assert asks is not None
    assert asks.client_authentication.client_id == "api"
    assert asks.active_lifetime == 5
    assert asks.signed is not None
    assert asks.signed.algorithms == {"PS256"}
    assert asks.breaker.failures == 2


@pytest.mark.parametrize(
    ("method", "content", "message"),
    [
        ("method: private_key_jwt, key_file", private_key_pem(make_key("RSA-1024")), "fewer than 2048 bits"),
        ("method: private_key_jwt, algorithm: RS256, key_file", private_key_pem(make_key()), "does not fit"),
        ("method: client_secret_post, client_secret_file", b"\n", "the file is empty"),
    ],
)
def test_secret_that_cannot_authenticate_is_a_mistake_of_the_policy(
    method: str, content: bytes, message: str, configuration: Configuration
) -> None:
    secret = configuration.folder / "policies" / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(content)
    asked = f"introspection: {{when: opaque, client_id: api, client_authentication: {{{method}: secret}}}}"
    configuration.write_policy(f"{ISSUER}    {asked}\nrules: []\n")
    assert any(message in problem for problem in configuration.said())


SIGNED_WITHOUT_KEYS = """\
    introspection:
      when: opaque
      endpoint: https://as.example.com/introspect
      client_id: api
      client_authentication:
        method: client_secret_basic
        client_secret_file: policy.yaml
        insecure_private_key_readable_by_everyone: true
      signed: {}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("audience: https://api.example.com", "audience: []", "3:15: must not be empty"),
        ("    audience: https://api.example.com\n", "", "2:5: missing key `audience`"),
        (
            "{discovery: true}",
            "{}",
            "4:11: exactly one of `discovery: true`, `discovery_url`, `jwks_url`, `jwks_file`",
        ),
        (
            "{discovery: true}",
            "{discovery: true, jwks_url: https://a}",
            "4:11: exactly one of `discovery: true`, `discovery_url`, `jwks_url`, `jwks_file`",
        ),
        (
            "{discovery: true}",
            "{discovery: false}",
            "4:11: exactly one of `discovery: true`, `discovery_url`, `jwks_url`, `jwks_file`",
        ),
        ("    keys: {discovery: true}\n", "", "2:5: needs `keys`, or `introspection` for opaque tokens"),
        (
            "    keys: {discovery: true}\n",
            SIGNED_WITHOUT_KEYS,
            "4:5: `signed` responses are verified with the issuer's `keys`",
        ),
        ("issuer: https://as", "issuer: http://as", "2:5: `http://as.example.com` is not https"),
        (
            "{discovery: true}",
            "{jwks_url: http://as.example.com}",
            "4:5: `http://as.example.com` is not https",
        ),
        (
            "{discovery: true}",
            "{discovery: true}\n    algorithms: [HS256]",
            "5:18: expected one of RS256, RS384",
        ),
        (
            "{discovery: true}",
            "{discovery: true}\n    algorithms: [none]",
            "5:18: expected one of RS256, RS384",
        ),
        ("{discovery: true}", "{discovery: true}\n    algorithms: []", "5:17: must not be empty"),
        ("{discovery: true}", "{discovery: true}\n    clock_skew: 1h", "5:5: more than 10m"),
        (
            "{discovery: true}",
            "{discovery: true}\n    token_types: [at jwt]",
            "5:19: `at jwt` is not a media type",
        ),
        (
            "{discovery: true}",
            f"{ASKS}: {{method: private_key_jwt}}}}",
            "5:73: `method: private_key_jwt` needs `key_file`",
        ),
        (
            "{discovery: true}",
            f"{ASKS}: {{method: private_key_jwt, key_file: ../server.key, client_secret_file: ../server.key}}}}",
            "5:123: `client_secret_file` has no effect with `method: private_key_jwt`",
        ),
    ],
)
def test_a_mistake_in_an_issuer_is_named_at_its_place(
    configuration: Configuration, old: str, new: str, expected: str
) -> None:
    assert old in POLICY
    configuration.write_policy(POLICY.replace(old, new, 1))
    assert any(one.startswith(expected) for one in configuration.said()), configuration.said()


def test_plain_http_needs_a_setting_that_embarrasses(configuration: Configuration) -> None:
    text = POLICY.replace("{discovery: true}", "{jwks_url: http://127.0.0.1:1/jwks}")
    configuration.write_policy(
        text.replace("rules:", "    http: {insecure_plain_http_anyone_can_forge_keys: true}\nrules:")
    )
    loaded = configuration.load()
    assert [one.message for one in loaded.dangers] == ["`insecure_plain_http_anyone_can_forge_keys` is on"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("method: client_secret_basic, client_secret_file: secret", "ClientSecretBasic"),
        ("method: client_secret_post, client_secret_file: secret", "ClientSecretPost"),
        (
            "method: private_key_jwt, key_file: ../server.key, algorithm: ES256, key_id: k, audience: a",
            "PrivateKeyJwt",
        ),
        (
            "method: tls_client_auth, certificate_file: ../server.crt, private_key_file: ../server.key",
            "TlsClientAuth",
        ),
        (
            "method: self_signed_tls_client_auth, certificate_file: ../server.crt, private_key_file: ../server.key",
            "SelfSignedTlsClientAuth",
        ),
    ],
)
def test_every_client_authentication_arrives(configuration: Configuration, said: str, expected: str) -> None:
    (configuration.folder / "policies" / "secret").write_text("s3cret")
    (configuration.folder / "policies" / "secret").chmod(0o600)
    configuration.write_policy(POLICY.replace("{discovery: true}", f"{ASKS}: {{{said}}}}}", 1))
    (settings,) = configuration.load().issuers.issuers
    assert settings.introspection is not None
    assert type(settings.introspection.client_authentication).__name__ == expected
    assert settings.introspection.client_authentication.client_id == "a"


def test_a_secret_that_everyone_may_read_is_refused(configuration: Configuration) -> None:
    secret = configuration.folder / "policies" / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o644)
    said = "method: client_secret_basic, client_secret_file: secret"
    configuration.write_policy(POLICY.replace("{discovery: true}", f"{ASKS}: {{{said}}}}}", 1))
    (problem,) = configuration.problems()
    assert "is readable by everyone" in problem.message
