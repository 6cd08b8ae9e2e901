"""The section `authorization_server`: its values, its mistakes, and what `check` warns of."""

import datetime as dt
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.proxy.authorization_server.configuration import AuditBinding, EndpointKind
from tests.support.client_files import ONE, SECTION, Clients, jwk
from tests.support.configuration import ISSUER, POLICY, SERVICE
from tests.support.pki import (
    DAY,
    Authority,
    Pki,
    Profile,
    certificate_pem,
    self_signed,
    subject_alternative_names,
)


@pytest.fixture
def clients(pki: Pki) -> Iterator[Clients]:
    with tempfile.TemporaryDirectory() as folder:
        yield Clients.create(Path(folder), pki)


def test_section_is_read(clients: Clients) -> None:
    clients.write_section(
        """\
authorization_server:
  issuer: https://as.example.com
  endpoints: {token: {public: /token, upstream: /oauth/token}, revocation: /revoke}
  client_files: [clients/*.yaml]
  hand_over:
    header: {format: pem_urlencoded, name: X-Cert, verified: {name: X-Verified, yes: SUCCESS, no: NONE}}
    extra_headers_file: extra
  audit_binding: refuse
  metadata: {mtls_origin: "https://mtls.as.example.com/"}
  report_only: {until: 2030-01-01}
"""
    )
    extra = clients.folder / "extra"
    extra.touch(mode=0o600)
    extra.write_text("# a key\nX-Api-Key: k3y\n")
    loaded = clients.configuration.load()
    server = loaded.authorization_server
    assert server is not None
    assert [(one.kind, one.public, one.upstream) for one in server.endpoints] == [
        (EndpointKind.TOKEN, "/token", "/oauth/token"),
        (EndpointKind.REVOCATION, "/revoke", "/revoke"),
    ]
    assert server.audit_binding is AuditBinding.REFUSE
    assert server.metadata is not None
    assert server.metadata.mtls_origin == "https://mtls.as.example.com"
    assert (server.enforces(1893455999), server.enforces(1893456000)) == (False, True)
    assert server.hand_over_names == {"X-Cert", "X-Verified", "X-Api-Key"}
    assert server.hand_over_names <= loaded.proxy.identity_names
    assert [one.client_id for one in server.clients] == ["tpp-1"]
    assert {clients.folder / "clients/a.yaml", clients.folder / "clients/../ca.crt"} <= set(loaded.files)
    assert str(clients.folder / "clients/*.yaml") in loaded.policy_patterns


def test_without_the_section_sessions_are_resumed_and_nothing_is_stripped(clients: Clients) -> None:
    loaded = clients.configuration.load()
    assert [one.tls and one.tls.resumes for one in loaded.proxy.listeners] == [False]
    clients.write_section("")
    loaded = clients.configuration.load()
    assert loaded.authorization_server is None
    assert [one.tls and one.tls.resumes for one in loaded.proxy.listeners] == [True]
    assert loaded.proxy.hand_over_headers == frozenset()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("token: /token", "token: token", "8:22: `token` is not a path of plain segments"),
        ("token: /token", "token: /a/../token", "is not a path of plain segments"),
        ("token: /token", "token: /token;v=1", "is not a path of plain segments"),
        ("token: /token", "token: //token", "is not a path of plain segments"),
        ("token: /token", "revocation: /token", "missing key `token`"),
        ("token: /token", "token: /token, revocation: /TOKEN/", "`/TOKEN/` is the path of `token`"),
        ("token: /token", "token: {public: /token}", "missing key `upstream`"),
        ("format: rfc9440", "format: pem_urlencoded", "`pem_urlencoded` has no default name"),
        ("format: rfc9440", "format: der_base64, name: X, chain: true", "`der_base64` has no field for a chain"),
        (
            "format: rfc9440",
            "format: rfc9440, verified: {name: client-cert, yes: x}",
            "`client-cert` cannot be used to say that the certificate was verified",
        ),
        ("format: rfc9440", 'format: rfc9440, verified: {name: V, yes: " x"}', "is not the value of a header field"),
        ("format: rfc9440", 'format: rfc9440, verified: {name: V, "true": x}', "`true` is how Helm and other YAML"),
        ("format: rfc9440", 'format: rfc9440, verified: {name: V, yes: x, "false": y}', 'write "no" in quotes'),
        ("https://as", "ftp://as", "is not an https:// URL"),
        ("clients/*.yaml", "client/*.yaml", "no clients file matches `client/*.yaml`"),
        ("  hand_over", "  hands_over", "unknown key `hands_over`; did you mean `hand_over`?"),
        ("  hand_over: {header: {format: rfc9440}}", "  audit_binding: refuse", "`refuse` would refuse all tokens"),
        ("  hand_over:", "  metadata: {mtls_origin: http://a.example}\n  hand_over:", "is not an origin"),
        ("  hand_over:", '  metadata: {mtls_origin: "https://a.example/x"}\n  hand_over:', "is not an origin"),
    ],
)  # fmt: skip
def test_mistake_is_named(clients: Clients, before: str, after: str, expected: str) -> None:
    assert before in SECTION
    clients.write_section(SECTION.replace(before, after))
    assert [one for one in clients.problems() if expected in one], clients.problems()


def test_server_that_others_reach_is_told_nothing(clients: Clients) -> None:
    clients.write_section(SECTION, SERVICE.replace("127.0.0.1:8080", "10.0.0.1:8080"))
    (problem,) = clients.problems()
    assert "a caller that reaches the server directly could pretend to be any client" in problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("X-Key k3y", "line 1: expected `Name: value`"),
        ("X-Key: a\nx-key: b", "line 2: a field that is there already"),
        ("# nothing\n", "no field"),
        ("Host: evil", "`Host` is not free"),
        ("\n".join(f"X-{n}: v" for n in range(17)), "more than 16 fields"),
        ("X-Key: \x07", "line 1: expected `Name: value`"),
    ],
)
def test_extra_headers_are_read_by_line_and_nothing_is_quoted(
    clients: Clients, content: str, expected: str
) -> None:
    extra = clients.folder / "extra"
    extra.touch(mode=0o600)
    extra.write_text(content)
    clients.write_section(SECTION.replace("rfc9440}}", "rfc9440}, extra_headers_file: extra}"))
    (problem,) = clients.problems()
    assert expected in problem
    assert "k3y" not in problem


def test_extra_headers_are_a_secret(clients: Clients) -> None:
    extra = clients.folder / "extra"
    extra.write_text("X-Key: k3y")
    extra.chmod(0o644)
    section = SECTION.replace("rfc9440}}", "rfc9440}, extra_headers_file: extra}")
    clients.write_section(section)
    (problem,) = clients.problems()
    assert "is readable by everyone" in problem
    clients.write_section(
        section.replace("extra}", "extra, insecure_extra_headers_readable_by_everyone: true}")
    )
    assert clients.problems() == []
    (danger,) = clients.configuration.load().dangers
    assert "`insecure_extra_headers_readable_by_everyone` is on" in danger.message


def test_claim_under_the_name_of_the_hand_over_is_refused(clients: Clients) -> None:
    """The server believes that field, whatever request it stands in."""
    rule = "{name: one, match: {path: /x}, identity_headers: {client-cert: sub}}"
    clients.configuration.write_policy(f"{ISSUER}rules:\n  - {rule}\n")
    (problem,) = clients.problems()
    assert "`Client-Cert` is among `identity_headers`: a claim would be taken for a certificate" in problem
    clients.configuration.write_policy(POLICY)
    claims = 'upstream: {url: "http://127.0.0.1:8080", identity_headers: {Client-Cert: sub}}'
    clients.write_section(SECTION, SERVICE.replace('upstream: {url: "http://127.0.0.1:8080"}', claims))
    (problem,) = clients.problems()
    assert "`Client-Cert` is among `identity_headers`" in problem


# --- what check warns of


def test_good_configuration_is_not_doubted(clients: Clients) -> None:
    assert clients.warnings(time.time()) == []


def test_moved_endpoint_is_doubted_because_of_proofs(clients: Clients) -> None:
    clients.write_section(SECTION.replace("token: /token", "token: {public: /t, upstream: /token}"))
    (warning,) = clients.warnings()
    assert "clients see `/t`, the server `/token`: it refuses their DPoP proofs" in warning


def test_client_of_whom_the_server_hears_nothing_is_named(clients: Clients) -> None:
    clients.write_section(SECTION.replace("  hand_over: {header: {format: rfc9440}}\n", ""))
    translate = "translate: {method: client_secret_basic, client_secret_file: ../secret}"
    clients.write(
        ONE
        + "  - {client_id: tpp-2, method: tls_client_auth, ca_file: ../ca.crt, san_dns: tpp-2.example, "
        + f"{translate}}}\n  - {{client_id: old, method: other}}\n"
    )
    first, second = clients.warnings()
    assert "`tpp-1`: neither `hand_over.header` nor `translate`" in first
    assert (
        "`tpp-2`: without `hand_over.header` the server sees no certificate: its tokens are not bound"
        in second
    )


def test_two_clients_of_one_certificate_are_named(clients: Clients) -> None:
    clients.write_client(
        "client_id: tpp-2, method: tls_client_auth, ca_file: ../ca.crt, san_dns: TPP-1.example", "b.yaml"
    )
    (warning,) = clients.warnings()
    assert "`tpp-2`: a certificate of this client is also accepted for `tpp-1`" in warning
    assert "clients/a.yaml:2)" in warning


def test_two_clients_of_one_registered_certificate_are_named(clients: Clients) -> None:
    own = "method: self_signed_tls_client_auth, certificate_files: [../own.crt]"
    clients.write(f"clients:\n  - {{client_id: a, {own}}}\n  - {{client_id: b, {own}}}\n")
    (warning,) = clients.warnings()
    assert "`b`: a certificate of this client is also accepted for `a`" in warning


OWN_OF_B = "client_id: b, method: self_signed_tls_client_auth, "


@pytest.mark.parametrize("registered", ["certificate_files: [../own.crt]", "jwks_file: ../own.jwks"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("subject_dn", "CN=tpp, O=Bank"),
        ("san_dns", "TPP.example"),
        ("san_uri", "https://tpp.example/id"),
        ("san_ip", "192.0.2.1"),
        ("san_email", "api@tpp.example"),
    ],
)
def test_registered_certificate_that_has_the_name_of_another_client_is_named(
    clients: Clients, kind: str, name: str, registered: str
) -> None:
    """RFC 8705 §2.1 and §2.2: one certificate would authenticate as whichever `client_id` is sent."""
    write_own(clients, clients.authority)
    clients.write_client(f'client_id: a, method: tls_client_auth, ca_file: ../ca.crt, {kind}: "{name}"')
    clients.write_client(f"{OWN_OF_B}{registered}", "b.yaml")
    (warning,) = clients.warnings()
    assert "`b`: a certificate of this client is also accepted for `a`" in warning
    assert "clients/a.yaml:2)" in warning


def write_own(clients: Clients, authority: Authority) -> None:
    """A certificate with a name of each kind, in `own.crt` and `own.jwks`."""
    names = subject_alternative_names(
        ["tpp.example"], ["https://tpp.example/id"], ["api@tpp.example"], ["192.0.2.1"]
    )
    found = authority.issue(Profile("tpp", organization="Bank", names=tuple(names)))
    (clients.folder / "own.crt").write_bytes(certificate_pem(found.certificate))
    (clients.folder / "own.jwks").write_text(json.dumps({"keys": [jwk(found)]}))


def test_registered_certificate_below_an_intermediate_that_another_client_has_is_named(
    clients: Clients,
) -> None:
    between = clients.authority.intermediate("between")
    write_own(clients, between)
    (clients.folder / "between.crt").write_bytes(certificate_pem(between.certificate))
    by_ca = "method: tls_client_auth, ca_file: "
    clients.write(
        f"clients:\n  - {{client_id: a, {by_ca}../ca.crt, san_dns: tpp.example}}\n"
        f"  - {{client_id: c, {by_ca}../between.crt, san_dns: c.example}}\n"
        f"  - {{{OWN_OF_B}certificate_files: [../own.crt]}}\n"
    )
    (warning,) = clients.warnings()
    assert "`b`: a certificate of this client is also accepted for `a`" in warning


def test_registered_certificate_of_an_unknown_issuer_with_the_name_of_another_client_is_doubted(
    clients: Clients,
) -> None:
    write_own(clients, clients.authority.intermediate("between"))
    clients.write_client("client_id: a, method: tls_client_auth, ca_file: ../ca.crt, san_dns: tpp.example")
    clients.write_client(f"{OWN_OF_B}certificate_files: [../own.crt]", "b.yaml")
    (warning,) = clients.warnings()
    assert "`b`: a registered certificate has the name of `a`" in warning
    assert "and no file has its issuer `CN=between`" in warning


def test_registered_certificate_that_no_authority_of_the_other_client_vouches_for_is_its_own(
    clients: Clients,
) -> None:
    """The twin that is self-signed, and the one of another known authority, fail at the authority."""
    other = Authority.root("other root")
    (clients.folder / "other.crt").write_bytes(other.pem)
    by_ca = "method: tls_client_auth, ca_file: "
    clients.write(
        f"clients:\n  - {{client_id: a, {by_ca}../ca.crt, san_dns: tpp.example}}\n"
        f"  - {{client_id: c, {by_ca}../other.crt, san_dns: c.example}}\n"
        f"  - {{{OWN_OF_B}certificate_files: [../own.crt]}}\n"
    )
    write_own(clients, other)
    assert clients.warnings() == []
    twin = self_signed(Profile("tpp", names=tuple(subject_alternative_names(["tpp.example"], [], [], []))))
    (clients.folder / "own.crt").write_bytes(twin.pem)
    assert clients.warnings() == []


def test_same_name_of_another_authority_is_another_client(clients: Clients) -> None:
    (clients.folder / "other.crt").write_bytes(Authority.root("other root").pem)
    clients.write_client(
        "client_id: tpp-2, method: tls_client_auth, ca_file: ../other.crt, san_dns: tpp-1.example", "b.yaml"
    )
    assert clients.warnings() == []


def test_authority_that_certifies_for_anybody_is_named(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8705 §7.4: one that this machine trusts for the web, or one below it."""
    web = Authority.root("web root")
    (clients.folder / "web.crt").write_bytes(web.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(clients.folder / "web.crt"))
    assert clients.warnings() == []
    for authority in (web, web.intermediate("web intermediate")):
        (clients.folder / "ca.crt").write_bytes(certificate_pem(authority.certificate))
        warnings = [one for one in clients.warnings() if "certifies for anyone" in one]
        assert len(warnings) == 1
        assert f"holds `CN=web {'root' if authority is web else 'intermediate'}`" in warnings[0]


def test_many_authorities_of_one_client_are_doubted(clients: Clients) -> None:
    found = b"".join(Authority.root(f"root {number}").pem for number in range(17))
    (clients.folder / "ca.crt").write_bytes(found)
    (warning,) = clients.warnings()
    assert "holds 17 authorities: each of them can certify this client" in warning


def test_client_with_a_certificate_of_its_own_needs_a_listener_that_takes_any(clients: Clients) -> None:
    trusting = SERVICE.replace(
        "server.key}", "server.key}\n    client_certificate: {trust: ca, ca_file: ca.crt}"
    )
    clients.write_section(SECTION, trusting)
    assert clients.warnings() == []
    clients.write_client(
        "client_id: own, method: self_signed_tls_client_auth, certificate_files: [../own.crt]", "b.yaml"
    )
    (warning,) = clients.warnings()
    assert "no listener has `trust: any`: `own` registers its own certificate, and cannot connect" in warning


def test_no_client_is_doubted(clients: Clients) -> None:
    clients.write("clients: []\n")
    (warning,) = clients.warnings()
    assert "there is no client" in warning


def test_ends_of_certificates_are_told_in_time(clients: Clients) -> None:
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    old = self_signed(Profile(not_before=begin, not_after=begin + 365 * DAY))
    (clients.folder / "own.crt").write_bytes(old.pem)
    clients.write_client(
        "client_id: own, method: self_signed_tls_client_auth, certificate_files: [../own.crt]", "b.yaml"
    )
    later = clients.authority.certificate.not_valid_after_utc.timestamp() + 1
    assert any(
        "`own`: no registered certificate is valid now" in one for one in clients.warnings(time.time())
    )
    assert any("ca.crt" in one and "expired on" in one for one in clients.warnings(later))
    assert not any("expired on" in one for one in clients.warnings(None))
