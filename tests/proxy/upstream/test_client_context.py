"""Which servers we trust as a client: the same on every version of Python, because no flag is inherited."""

import ast
import datetime as dt
import ssl
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

import sidecar
from sidecar.trust.client_context import ServerTrust, client_context
from tests.support.pki import SERVER_PROFILE, Authority, Identity, Pki, certificate_pem, make_key, utc_now

pytestmark = pytest.mark.field_cases

OTHER = (x509.DNSName("other.example"),)
NAMES = x509.SubjectAlternativeName([x509.DNSName("localhost")])


def bare(name: str, issuer: Identity | None, *extensions: x509.ExtensionType) -> Identity:
    """A certificate with these extensions and no others."""
    key = make_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - dt.timedelta(hours=1))
        .not_valid_after(utc_now() + dt.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return Identity(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


def stock(folder: Path) -> Identity:
    """What `openssl req -x509` makes of a configuration of old: neither keyUsage nor key identifiers."""
    settings = folder / "openssl.cnf"
    settings.write_text(
        "[req]\ndistinguished_name=d\nx509_extensions=v3\n[d]\n[v3]\nbasicConstraints=critical,CA:true\n"
    )
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-config", str(settings), "-subj", "/CN=stock", "-keyout", str(folder / "ca.key")]
    subprocess.run([*command, "-out", str(folder / "ca.crt")], check=True, capture_output=True)
    key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    return Identity(certificate, key)  # type: ignore[arg-type]  # an EC key, as the command says


ROOT = x509.BasicConstraints(ca=True, path_length=None)
Made = Callable[[Path], tuple[Identity, x509.Certificate]]
"""A server, and what `ca_file` holds."""


def below(authority: Identity, *extensions: x509.ExtensionType) -> tuple[Identity, x509.Certificate]:
    return bare("localhost", authority, NAMES, *extensions), authority.certificate


def _intermediate(_: Path) -> tuple[Identity, x509.Certificate]:
    issuing = Authority.root().intermediate()
    return issuing.server(), issuing.certificate


def _well_formed(_: Path) -> tuple[Identity, x509.Certificate]:
    authority = Authority.root()
    return authority.server(), authority.certificate


ACCEPTED: Mapping[str, tuple[Made, bool]] = {
    "well formed": (_well_formed, True),
    "openssl req -x509 of old": (lambda folder: below(stock(folder)), False),
    "authority without keyUsage": (lambda _: below(bare("root", None, ROOT)), False),
    "issuing authority as the anchor": (_intermediate, True),
}
"""With whether `strict_certificates` accepts it too."""


@pytest.fixture
def says(tmp_path: Path) -> Callable[[Identity, ssl.SSLContext], str]:
    """The outcome of a handshake with a server, from the client's side."""

    def outcome(server: Identity, client: ssl.SSLContext) -> str:
        files = server.write(tmp_path, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.private_key)
        ours, theirs = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
        one = client.wrap_bio(*ours, server_hostname="localhost")
        other = context.wrap_bio(*theirs, server_side=True)
        for _ in range(4):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            theirs[0].write(ours[1].read())
            try:
                other.do_handshake()
            except ssl.SSLWantReadError:
                pass
            ours[0].write(theirs[1].read())
        return f"{one.version()} {one.selected_alpn_protocol()}"

    return outcome


@pytest.mark.parametrize("kind", ACCEPTED)
@pytest.mark.parametrize("strict", [False, True], ids=["as it is", "strict"])
def test_authority_is_accepted_on_every_python_unless_asked_to_be_strict(
    tmp_path: Path, says: Callable[[Identity, ssl.SSLContext], str], kind: str, strict: bool
) -> None:
    make, accepted_strictly = ACCEPTED[kind]
    server, authority = make(tmp_path)
    (tmp_path / "trusted.crt").write_bytes(certificate_pem(authority))
    said = says(server, client_context(ServerTrust(tmp_path / "trusted.crt", strict=strict)))
    if strict and not accepted_strictly:
        assert "TLSv1.3" not in said
    else:
        assert said == "TLSv1.3 None"


def test_stranger_and_another_name_are_refused(
    tmp_path: Path, says: Callable[[Identity, ssl.SSLContext], str], pki: Pki
) -> None:
    (tmp_path / "trusted.crt").write_bytes(pki.server_authority.pem)
    trusting = client_context(ServerTrust(tmp_path / "trusted.crt"))
    assert says(pki.server, trusting) == "TLSv1.3 None"
    assert "unable to get local issuer" in says(Authority.root().server(), trusting)
    assert "localhost" in says(pki.server_authority.server(replace(SERVER_PROFILE, names=OTHER)), trusting)


def test_common_name_is_a_servers_name_unless_asked_to_be_strict(
    tmp_path: Path, says: Callable[[Identity, ssl.SSLContext], str], pki: Pki
) -> None:
    (tmp_path / "trusted.crt").write_bytes(pki.server_authority.pem)
    nameless = pki.server_authority.server(replace(SERVER_PROFILE, names=()))
    assert says(nameless, client_context(ServerTrust(tmp_path / "trusted.crt"))) == "TLSv1.3 None"
    assert "localhost" in says(nameless, client_context(ServerTrust(tmp_path / "trusted.crt", strict=True)))


def test_session_keys_are_never_written_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert client_context(ServerTrust()).keylog_filename is None


def test_one_place_makes_contexts_of_clients() -> None:
    """`create_default_context` for a client means something else in each version of Python."""
    root = Path(sidecar.__file__).parent
    makers = set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "ssl.create_default_context",
                "ssl.SSLContext",
                "ssl._create_unverified_context",
            }:
                said = ast.unparse(node)
                if "CLIENT_AUTH" not in said and "PROTOCOL_TLS_SERVER" not in said:
                    makers.add(file.relative_to(root).as_posix())
    assert makers == {"trust/client_context.py"}
