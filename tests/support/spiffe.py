"""X.509-SVIDs and the ways they come to a Pod as files, each written as its driver writes it."""

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.pki import HOUR, Authority, Identity, certificate_pem, key_usage, make_key, utc_now

TRUST_DOMAIN = "spiffe://bank.example"


def svid(authority: Authority, path: str) -> Identity:
    """An X.509-SVID as SPIRE and csi-driver-spiffe issue it: no subject, one URI name, critical, for an hour.

    X509-SVID §2 to §4: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
    """
    key = make_key()
    name = x509.UniformResourceIdentifier(TRUST_DOMAIN + path)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - dt.timedelta(seconds=10))
        .not_valid_after(utc_now() + HOUR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    return Identity(certificate, key, authority.chain)


def bundle(*authorities: Authority) -> bytes:
    """The trust bundle: every root in force."""
    return b"".join(certificate_pem(one.certificate) for one in authorities)


@dataclass
class Projected:
    """Kubernetes' atomic writer: Secrets, and the CSI drivers of cert-manager, one for names and one for SPIFFE.

    A fresh folder, and one rename of a symbolic link that all the names go through.
    """

    folder: Path
    certificate_file: str = "tls.crt"
    private_key_file: str = "tls.key"
    bundle_file: str = "ca.crt"
    versions: Iterator[int] = field(default_factory=itertools.count)

    def write(self, identity: Identity, trusted: bytes) -> None:
        version = self.folder / f"..2026_01_01_00_00_00.{next(self.versions)}"
        version.mkdir()
        for name, content in self.contents(identity, trusted).items():
            (version / name).write_bytes(content)
            (version / name).chmod(0o440)
            link = self.folder / name
            if not link.is_symlink():
                link.unlink(missing_ok=True)
                link.symlink_to(Path("..data") / name)
        fresh, data = self.folder / "..data_tmp", self.folder / "..data"
        before = data.resolve() if data.is_symlink() else None
        fresh.symlink_to(version.name)
        fresh.replace(data)
        if before is not None:
            for one in before.iterdir():
                one.unlink()
            before.rmdir()

    def contents(self, identity: Identity, trusted: bytes) -> dict[str, bytes]:
        return {
            self.certificate_file: identity.pem,
            self.private_key_file: identity.key_pem,
            self.bundle_file: trusted,
        }


@dataclass
class InPlace(Projected):
    """spiffe-helper: certificate, key and bundle one after the other, each written over the one before."""

    certificate_file: str = "svid.pem"
    private_key_file: str = "svid_key.pem"
    bundle_file: str = "svid_bundle.pem"

    def write(self, identity: Identity, trusted: bytes) -> None:
        for name, content in self.contents(identity, trusted).items():
            (self.folder / name).touch(0o600)
            (self.folder / name).write_bytes(content)
