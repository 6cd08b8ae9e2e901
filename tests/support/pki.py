"""Certificates, keys and revocation lists, made at run time; nothing here outlives the test run.

An `Identity` is a certificate with its private key; an `Authority` is an identity that issues others. Names,
validity and extensions are arguments, so that a test states exactly what is wrong with a certificate.
"""

import base64
import datetime as dt
import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.decision.client_certificate import ClientCertificate
from sidecar.proxy.certificates import client_certificate

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def make_key(kind: str = "P-256") -> PrivateKey:
    """A new private key: `P-256`, `P-384`, `P-521`, `Ed25519`, or `RSA-<bits>` (slow: make it once)."""
    curves: dict[str, ec.EllipticCurve] = {
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
    }
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("RSA-")))
    return ec.generate_private_key(curves[kind])


def private_key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def thumbprint(certificate: x509.Certificate | bytes) -> str:
    """`x5t#S256` of a certificate or of its DER bytes (RFC 8705 §3.1)."""
    der = certificate if isinstance(certificate, bytes) else certificate_der(certificate)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def certificate_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def presented(certificate: x509.Certificate) -> ClientCertificate:
    """A certificate as a listener sees it once the handshake has proved the key."""
    return client_certificate(certificate_der(certificate))


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Where `Identity.write` put the PEM files; `certificate` holds the chain too, leaf first."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and the private key it certifies; `chain` is what a peer sends after the leaf."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def thumbprint(self) -> str:
        return thumbprint(self.certificate)

    @property
    def der(self) -> bytes:
        return certificate_der(self.certificate)

    @property
    def presented(self) -> ClientCertificate:
        """The certificate as a listener sees it once the handshake has proved the key."""
        return presented(self.certificate)

    @property
    def pem(self) -> bytes:
        """The leaf, then its chain."""
        return b"".join(certificate_pem(one) for one in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        return private_key_pem(self.key)

    def write(self, directory: Path, name: str) -> IdentityFiles:
        """Writes `<name>.crt` (leaf and chain) and `<name>.key` (mode 0600)."""
        files = IdentityFiles(directory / f"{name}.crt", directory / f"{name}.key")
        files.certificate.write_bytes(self.pem)
        files.private_key.touch(mode=0o600)
        files.private_key.write_bytes(self.key_pem)
        return files


def subject_alternative_names(
    dns: Sequence[str] = (), uris: Sequence[str] = (), emails: Sequence[str] = (), ips: Sequence[str] = ()
) -> list[x509.GeneralName]:
    """General names in the order DNS, URI, email, IP. An embedded NUL passes: it is IA5String."""
    return [
        *(x509.DNSName(value) for value in dns),
        *(x509.UniformResourceIdentifier(value) for value in uris),
        *(x509.RFC822Name(value) for value in emails),
        *(x509.IPAddress(ipaddress.ip_address(value)) for value in ips),
    ]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate says of its key. By default a client certificate, valid from an hour ago."""

    common_name: str = "client"
    organization: str | None = None
    names: tuple[x509.GeneralName, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    not_before: dt.datetime | None = None
    not_after: dt.datetime | None = None
    is_authority: bool = False

    def subject(self) -> x509.Name:
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)]
        if self.organization is not None:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.organization))
        return x509.Name(attributes)

    def certify(self, key: PrivateKey, issuer: Identity | None) -> x509.Certificate:
        """Signs this profile for `key`, by `issuer` or, without one, by the key itself."""
        issuer_key = key if issuer is None else issuer.key
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject())
            .issuer_name(self.subject() if issuer is None else issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.not_before or utc_now() - HOUR)
            .not_valid_after(self.not_after or self._default_end())
        )
        for extension, critical in self._extensions(key, issuer_key):
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, digest_for(issuer_key))

    def _default_end(self) -> dt.datetime:
        """An authority outlives what it certifies: else a chain's end depends on when the second turned."""
        return utc_now() + (2 * DAY if self.is_authority else DAY)

    def _extensions(
        self, key: PrivateKey, issuer_key: PrivateKey
    ) -> Iterable[tuple[x509.ExtensionType, bool]]:
        yield x509.BasicConstraints(ca=self.is_authority, path_length=None), True
        yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        yield key_usage(self.is_authority), True
        if self.names:
            yield x509.SubjectAlternativeName(self.names), False
        if self.usages is not None and not self.is_authority:
            yield x509.ExtendedKeyUsage(self.usages), False


def digest_for(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


SERVER_PROFILE = Profile(
    common_name="localhost",
    names=tuple(subject_alternative_names(dns=["localhost", "api.example.com"], ips=["127.0.0.1", "::1"])),
    usages=(ExtendedKeyUsageOID.SERVER_AUTH,),
)


def self_signed(profile: Profile | None = None, key: PrivateKey | None = None) -> Identity:
    """A certificate nobody but its own key vouches for (RFC 8705 §2.2)."""
    key = key or make_key()
    return Identity((profile or Profile()).certify(key, None), key)


@dataclass(frozen=True, slots=True)
class Authority(Identity):
    """An identity that issues certificates and revocation lists."""

    @classmethod
    def root(cls, common_name: str = "test root", key: PrivateKey | None = None) -> Self:
        key = key or make_key()
        profile = Profile(common_name=common_name, is_authority=True, not_before=utc_now() - 2 * DAY)
        return cls(profile.certify(key, None), key)

    def intermediate(self, common_name: str = "test intermediate") -> "Authority":
        """An authority below this one; what it issues carries it in the chain."""
        key = make_key()
        profile = Profile(common_name=common_name, is_authority=True, not_before=utc_now() - 2 * DAY)
        certificate = profile.certify(key, self)
        return Authority(certificate, key, (certificate,))

    def issue(self, profile: Profile | None = None, key: PrivateKey | None = None) -> Identity:
        key = key or make_key()
        return Identity((profile or Profile()).certify(key, self), key, self.chain)

    def server(self, profile: Profile = SERVER_PROFILE, key: PrivateKey | None = None) -> Identity:
        """A server certificate for localhost, 127.0.0.1, ::1 and api.example.com."""
        return self.issue(profile, key)

    def expired(self, profile: Profile | None = None) -> Identity:
        """A certificate that ran out an hour ago."""
        given = profile or Profile()
        return self.issue(
            Profile(
                given.common_name,
                given.organization,
                given.names,
                given.usages,
                utc_now() - DAY,
                utc_now() - HOUR,
            )
        )

    def not_yet_valid(self) -> Identity:
        return self.issue(Profile(not_before=utc_now() + HOUR, not_after=utc_now() + DAY))

    def revocation_list(
        self,
        *revoked: Identity,
        not_after: dt.datetime | None = None,
        not_before: dt.datetime | None = None,
    ) -> bytes:
        """A PEM CRL that names the certificates of `revoked`; it runs out at `not_after`, a day from now."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(not_before or utc_now() - 2 * HOUR)
            .next_update(not_after or utc_now() + DAY)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        for identity in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(identity.certificate.serial_number)
                .revocation_date(utc_now() - HOUR)
                .build()
            )
        return builder.sign(self.key, digest_for(self.key)).public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Pki:
    """The world most tests live in: one authority for servers, one for clients, and the usual strangers."""

    server_authority: Authority
    client_authority: Authority
    server: Identity
    client: Identity
    other_client: Identity
    self_signed_client: Identity
    stranger: Identity
    """A client certificate of an authority nobody configured."""

    @classmethod
    def create(cls) -> Self:
        servers, clients = Authority.root("test server CA"), Authority.root("test client CA")
        return cls(
            server_authority=servers,
            client_authority=clients,
            server=servers.server(),
            client=clients.issue(
                Profile("client-1", names=tuple(subject_alternative_names(dns=["client-1.example"])))
            ),
            other_client=clients.issue(Profile("client-2")),
            self_signed_client=self_signed(Profile("self-signed")),
            stranger=Authority.root("unknown CA").issue(Profile("stranger")),
        )
