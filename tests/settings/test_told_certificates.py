"""`client_certificate.source: header`: what a service file may say of proxies and their field (RFC 9440)."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from sidecar.decision.strict import base64url
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.configuration import ToldCertificateSettings, Trust, TrustedProxy, TrustSettings
from sidecar.settings import Loaded
from tests.support.configuration import SERVICE, Configuration
from tests.support.pki import Pki, certificate_pem

TLS = "{certificate_file: server.crt, private_key_file: server.key}"
TOLD = "source: header, header: {format: xfcc}"


@pytest.fixture
def configuration(tmp_path: Path, pki: Pki) -> Configuration:
    (tmp_path / "ca.crt").write_bytes(certificate_pem(pki.client_authority.certificate))
    return Configuration.create(tmp_path, pki)


def listens(
    configuration: Configuration,
    certificate: str,
    *,
    address: str = "0.0.0.0:8443",
    tls: str | None = TLS,
    more: str = "",
) -> list[str]:
    """What is wrong with one listener, without the place."""
    lines = [f"  - address: {address}", f"    client_certificate: {{{certificate}}}"]
    lines += [f"    tls: {tls}"] if tls else []
    service = "\n".join(["listeners:", *lines, *([f"    {more}"] if more else [])])
    _, _, rest = SERVICE.partition("upstream:")
    configuration.write_service(f"{service}\nupstream:{rest}")
    return [one.partition(": ")[2] for one in configuration.said()]


def settings_of(loaded: Loaded) -> ToldCertificateSettings | None:
    return loaded.proxy.listeners[0].told


def test_every_kind_of_proxy_and_its_field_arrive(configuration: Configuration, pki: Pki) -> None:
    pin = pki.client.thumbprint
    certificate = (
        "source: header, header: {format: rfc9440, name: X-Cert, chain_name: X-Chain}, proxies: ["
        "{network: 10.0.0.0/8}, {spiffe_id: 'spiffe://mesh/**', ca_file: ca.crt}, "
        f"{{san_dns: '*.mesh', ca_file: ca.crt}}, {{thumbprint: {pin}}}], trust: ca, ca_file: ca.crt"
    )
    assert listens(configuration, certificate) == []
    loaded, authority = configuration.load(), configuration.folder / "ca.crt"
    assert settings_of(loaded) == ToldCertificateSettings(
        CertificateFormat.RFC9440,
        "X-Cert",
        "X-Chain",
        (
            TrustedProxy(network=ip_network("10.0.0.0/8")),
            TrustedProxy(spiffe_id="spiffe://mesh/**", ca_file=authority),
            TrustedProxy(san_dns="*.mesh", ca_file=authority),
            TrustedProxy(thumbprint=base64url(pin)),
        ),
        TrustSettings(trust=Trust.CA, ca_file=authority),
    )
    listener = loaded.proxy.listeners[0]
    assert listener.requires_valid_certificate
    assert listener.tls is not None
    assert (listener.tls.trust, listener.tls.ca_file, listener.tls.resumes) == (Trust.ANY, None, False)
    assert authority in loaded.files


def test_unix_socket_and_loopback_may_be_without_tls(configuration: Configuration) -> None:
    proxies = "proxies: [{unix_user: 101}]"
    assert listens(configuration, f"{TOLD}, {proxies}", address="unix:///run/s.sock", tls=None) == []
    listener = configuration.load().proxy.listeners[0]
    assert (listener.name, listener.path, listener.tls) == ("/run/s.sock", "/run/s.sock", None)
    assert listener.place() == "unix:///run/s.sock"
    assert listener.told is not None
    assert listener.told.name == "X-Forwarded-Client-Cert"
    certificate = f"{TOLD}, proxies: [{{network: 127.0.0.1/32}}]"
    assert listens(configuration, certificate, address="127.0.0.1:8443", tls=None) == []
    (warning,) = configuration.load().warnings
    assert "a server-side request forgery" in warning.message
    assert listens(configuration, f"{TOLD}, proxies: [{{network: 0.0.0.0/0}}]") == []
    assert any("this large network" in one.message for one in configuration.load().warnings)


NAMED = "{san_dns: proxy.mesh, ca_file: ca.crt}"


@pytest.mark.parametrize(
    ("certificate", "others", "expected"),
    [
        ("source: header, proxies: [{network: 10.0.0.0/8}]", {}, "`source: header` needs `header`"),
        (TOLD, {}, "`source: header` needs `proxies`"),
        (f"{TOLD}, proxies: []", {}, "must not be empty"),
        ("header: {format: xfcc}", {}, "`header` has no effect without `source: header`"),
        ("proxies: [{network: 10.0.0.0/8}]", {}, "`proxies` has no effect without `source: header`"),
        (
            f"{TOLD}, proxies: [{NAMED}], at_handshake: required",
            {},
            "`at_handshake` has no effect with `source: header`",
        ),
        (
            f"{TOLD}, proxies: [{{san_dns: a.mesh}}]",
            {},
            "anyone can put a name into a certificate: `san_dns` needs the `ca_file` that vouches for it",
        ),
        (
            f"{TOLD}, proxies: [{{spiffe_id: 'spiffe://mesh/a'}}]",
            {},
            "anyone can put a name into a certificate: `spiffe_id` needs the `ca_file` that vouches for it",
        ),
        (
            f"{TOLD}, proxies: [{{network: 10.0.0.0/8, ca_file: ca.crt}}]",
            {},
            "`ca_file` has no effect with `network`",
        ),
        (
            f"{TOLD}, proxies: [{{}}]",
            {},
            "exactly one of network, spiffe_id, san_dns, thumbprint, unix_user",
        ),
        (
            f"{TOLD}, proxies: [{{network: 10.0.0.0/8, unix_user: 1}}]",
            {},
            "exactly one of network, spiffe_id, san_dns, thumbprint, unix_user",
        ),
        (
            "source: header, header: {format: der_base64}, proxies: [{network: 10.0.0.0/8}]",
            {},
            "`der_base64` has no default name: set `name` to the field that the proxy sends",
        ),
        (
            "source: header, header: {format: xfcc, chain_name: X-Chain}, proxies: [{network: 10.0.0.0/8}]",
            {},
            "`xfcc` has no field for a chain",
        ),
        (
            "source: header, header: {format: rfc9440, name: DPoP}, proxies: [{network: 10.0.0.0/8}]",
            {},
            "`DPoP` cannot carry a certificate",
        ),
        (
            "source: header, header: {format: rfc9440, chain_name: Client-Cert}, proxies: [{network: 10.0.0.0/8}]",
            {},
            "the certificate and its chain need two different fields",
        ),
        (
            f"{TOLD}, proxies: [{{unix_user: 1}}]",
            {},
            "proxies[0]: `unix_user` needs a Unix socket: address: unix:///run/sidecar.sock",
        ),
        (
            f"{TOLD}, proxies: [{{network: 10.0.0.0/8}}]",
            {"address": "unix:///run/s.sock", "tls": None},
            "proxies[0]: `network` has no effect on a Unix socket: `unix_user`",
        ),
        (
            f"{TOLD}, proxies: [{NAMED}]",
            {"address": "127.0.0.1:8443", "tls": None},
            "proxies[0]: a proxy can present a certificate only if the listener has `tls`",
        ),
        (
            f"{TOLD}, proxies: [{{network: 10.0.0.0/8}}]",
            {"tls": None},
            "missing key `tls`: without it, the address must be loopback or a Unix socket",
        ),
        (
            "trust: any",
            {"tls": None},
            "missing key `tls`: only a listener with `source: header` can omit it",
        ),
        ("trust: any", {"address": "unix:///s"}, "a Unix socket needs `client_certificate.source: header`"),
        (
            f"{TOLD}, proxies: [{{unix_user: 1}}]",
            {"address": "unix:///s", "more": "forwarded_from: [10.0.0.0/8]"},
            "a network has no effect on a Unix socket: `unix`",
        ),
        (
            f"{TOLD}, proxies: [{{network: 10.0.0.0/8}}]",
            {"more": "forwarded_from: [unix]"},
            "`unix` has an effect only on a Unix socket",
        ),
        (
            f"{TOLD}, proxies: [{{unix_user: 1}}]",
            {"address": "unix:///s", "more": "proxy_protocol_from: [10.0.0.0/8]"},
            "`proxy_protocol_from` has no effect on a Unix socket",
        ),
        (
            f"{TOLD}, proxies: [{{unix_user: 1}}]",
            {"address": "unix://relative"},
            "a Unix socket is written unix:///run/sidecar.sock, its path at most 107 bytes",
        ),
        (
            f"{TOLD}, proxies: [{{unix_user: 1}}]",
            {"address": f"unix:///{'s' * 108}"},
            "a Unix socket is written unix:///run/sidecar.sock, its path at most 107 bytes",
        ),
    ],
)
def test_mistake_is_named(
    configuration: Configuration, certificate: str, others: dict[str, str | None], expected: str
) -> None:
    assert listens(configuration, certificate, **others) == [expected]  # type: ignore[arg-type]  # by their names


def test_several_workers_cannot_share_a_unix_socket(configuration: Configuration) -> None:
    certificate = f"{TOLD}, proxies: [{{unix_user: 1}}]"
    assert listens(configuration, certificate, address="unix:///s", tls=None) == []
    configuration.write_service(configuration.file.read_text() + "workers: 2\n")
    assert "several workers cannot share a Unix socket" in configuration.said()[0]


def test_rule_about_the_clients_tls_is_never_met_behind_a_proxy(configuration: Configuration) -> None:
    assert listens(configuration, f"{TOLD}, proxies: [{{network: 10.0.0.0/8}}]") == []
    configuration.write_rule("match: {path: /a}\n    require: {tls: {minimum_version: '1.3'}}")
    messages = [one.message for one in configuration.load().warnings]
    assert any("does not know the clients' TLS" in one for one in messages)


def test_broken_authority_of_proxies_is_a_problem(configuration: Configuration) -> None:
    (configuration.folder / "ca.crt").write_text("nothing")
    assert len(listens(configuration, f"{TOLD}, proxies: [{NAMED}]")) == 1
