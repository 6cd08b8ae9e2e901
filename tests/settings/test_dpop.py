"""What the files say of DPoP arrives, and every mistake in it is named at its place."""

import pytest

from sidecar.decision.condition import BoundBy
from sidecar.decision.confirmable import CONFIRMABLE, Confirmable
from sidecar.decision.origin import Origin
from sidecar.decision.proof_policy import PROOF_POLICY, ProofPolicy
from sidecar.settings.configuration import Loaded
from tests.support.configuration import ISSUER, POLICY, SERVICE, Configuration

RESOURCE = "protected_resource: {resource: https://api.example.com, origins: [https://api.example.com]}\n"
NONCE = "dpop: {nonce_key_file: nonce}\n"


def policy(of_issuer: str) -> str:
    assert ISSUER in POLICY
    return POLICY.replace(ISSUER, f"{ISSUER.rstrip()}\n    {of_issuer}\n", 1)


def loaded(configuration: Configuration, of_issuer: str, service: str = RESOURCE) -> Loaded:
    configuration.write_service(SERVICE + service)
    configuration.write_policy(policy(of_issuer))
    return configuration.load()


def nonce_key(configuration: Configuration, content: str, mode: int = 0o600) -> None:
    file = configuration.folder / "nonce"
    file.write_text(content)
    file.chmod(mode)


def test_without_a_word_tokens_are_bearer_tokens(configuration: Configuration) -> None:
    configuration.write_service(SERVICE)
    configuration.write_policy(POLICY)
    (issuer,) = configuration.load().policy.issuers.values()
    assert (issuer.confirmable, issuer.proof) == (CONFIRMABLE, PROOF_POLICY)
    assert configuration.load().nonces() is None


def test_everything_that_can_be_said(configuration: Configuration) -> None:
    nonce_key(configuration, "a" * 32 + "\n" + "b" * 32 + "\n")
    found = loaded(
        configuration,
        "schemes: [Bearer, DPoP]\n    informative_confirmation: [kc-jkt-type]\n"
        "    dpop: {window: 2m, future: 10s, algorithms: [ES256, Ed25519], nonce: required}",
        "protected_resource:\n  resource: https://api.example.com\n"
        "  origins: [https://API.example.com, {origin: https://www.example.com:8443, prefix: /v1}]\n" + NONCE,
    )
    (issuer,) = found.policy.issuers.values()
    assert issuer.confirmable == Confirmable(("Bearer", "DPoP"), frozenset({"kc-jkt-type"}))
    assert issuer.proof == ProofPolicy(120, 10, frozenset({"ES256", "Ed25519"}), requires_nonce=True)
    assert found.policy.origins == (
        Origin("https://api.example.com"), Origin("https://www.example.com:8443", "/v1"),
    )  # fmt: skip
    assert configuration.folder / "nonce" in found.files
    nonces = found.nonces()
    assert nonces is not None
    assert nonces.is_current(nonces.fresh(0), 0)


@pytest.mark.parametrize(
    ("of_issuer", "service", "expected"),
    [
        ("schemes: [DPoP]", "", "`protected_resource.origins`"),
        ("schemes: [DPoP]\n    dpop: {nonce: required}", RESOURCE, "`dpop.nonce_key_file`"),
        ("dpop: {window: 10s}", RESOURCE, "`schemes` does not have DPoP"),
        ("schemes: [DPoP]\n    dpop: {window: 6m}", RESOURCE, "more than 5m"),
        ("schemes: [DPoP]\n    dpop: {algorithms: [RS256]}", RESOURCE, "got `RS256`"),
        ("schemes: [DPoP]\n    dpop: {algorithms: [HS256]}", RESOURCE, "got `HS256`"),
        ("schemes: [Basic]", RESOURCE, "got `Basic`"),
        ("schemes: []", RESOURCE, "must not be empty"),
        ("informative_confirmation: [jkt]", "", "binds the token"),
        ("informative_confirmation: [x5t#S256]", "", "binds the token"),
        ("informative_confirmation: [jwk]", "", "binds the token"),
        ("schemes: [Bearer]", RESOURCE.replace("origins: [https", "origins: [ftp"), "is no origin"),
        ("schemes: [Bearer]", RESOURCE.replace(".com]", ".com/v1]"), "is no origin"),
        ("schemes: [Bearer]", RESOURCE + "dpop: {nonce_key_file: absent}\n", "absent"),
        ("schemes: [Bearer]", "dpop: {replay: {store: redis}}\n", "needs `url_file`"),
        ("schemes: [Bearer]", "dpop: {replay: {ca_file: server.crt}}\n", "has no effect"),
        ("schemes: [Bearer]", RESOURCE + "dpop: {replay: {store: disk}}\n", "got `disk`"),
    ],
)
def test_mistake_is_named(configuration: Configuration, of_issuer: str, service: str, expected: str) -> None:
    configuration.write_service(SERVICE + service)
    configuration.write_policy(policy(of_issuer))
    found = configuration.said()
    assert any(expected in one for one in found), found


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        ("a" * 31, 0o600, "at least 32 bytes"), ("", 0o600, "one or two keys"),
        ("a" * 32, 0o644, "readable by everyone"),
        ("\n".join(["a" * 32] * 3), 0o600, "one or two keys"),
    ],
)  # fmt: skip
def test_nonce_key_that_guards_nothing_is_refused(
    configuration: Configuration, content: str, mode: int, expected: str
) -> None:
    nonce_key(configuration, content, mode)
    configuration.write_service(SERVICE + NONCE)
    found = configuration.said()
    assert any(expected in one for one in found), found
    assert "a" * 31 not in str(found)


@pytest.mark.parametrize("workers", ["1", "2", "auto"])
def test_memory_of_one_replica_is_a_doubt_with_any_number_of_workers(
    configuration: Configuration, workers: str
) -> None:
    found = loaded(configuration, "schemes: [DPoP]", RESOURCE + f"workers: {workers}\n")
    assert any("passes once in each" in str(one) for one in found.warnings)


def test_rule_says_by_what_a_token_must_be_bound(configuration: Configuration) -> None:
    configuration.write_rule("match: {path: /a}\n    require: {confirmation: [x5t#S256, jkt]}")
    (rule,) = configuration.load().policy.rules
    assert rule.conditions == (BoundBy(("x5t#S256", "jkt")),)


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("x5t#S512", "`x5t#S512` is not a supported member of `cnf`; did you mean `x5t#S256`?"),
        ("jwk", "`jwk` is not a supported member of `cnf`; did you mean `jkt`?"),
        ("certificate", "`certificate` is not a supported member of `cnf` (known: jkt, x5t#S256)"),
    ],
)
def test_member_that_nothing_confirms_is_no_requirement(
    configuration: Configuration, member: str, expected: str
) -> None:
    configuration.write_rule(f'match: {{path: /a}}\n    require: {{confirmation: ["{member}"]}}')
    found = configuration.said()
    assert any(one.endswith(expected) for one in found), found


def redis_url(configuration: Configuration, content: str, mode: int = 0o600) -> str:
    file = configuration.folder / "url"
    file.write_text(content)
    file.chmod(mode)
    return "dpop: {replay: {store: redis, url_file: url, ca_file: server.crt}}\n"


def test_shared_store_serves_workers_and_replicas(configuration: Configuration) -> None:
    store = redis_url(configuration, "rediss://:secret@redis.example:6380/1\n")
    found = loaded(configuration, "schemes: [DPoP]", RESOURCE + "workers: 4\n" + store)
    assert found.service.dpop.replay_url_file == configuration.folder / "url"
    assert not any("passes once in each" in str(one) for one in found.warnings)
    assert not found.service.dpop.accepts_when_unreachable


@pytest.mark.parametrize(
    ("url", "mode", "expected"),
    [
        ("http://:secret@a", 0o600, "is not a URL of the form"),
        ("redis://:secret@a", 0o644, "readable by everyone"),
    ],
)
def test_place_of_the_store_is_checked_and_never_shown(
    configuration: Configuration, url: str, mode: int, expected: str
) -> None:
    configuration.write_service(SERVICE + redis_url(configuration, url, mode))
    found = configuration.said()
    assert any(expected in one for one in found), found
    assert "secret" not in str(found)
