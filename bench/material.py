"""Keys, certificates and tokens, made at run time under `build/bench/material` and good for a day."""

import base64
import datetime as dt
import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

ISSUER = "https://as.example"
AUDIENCE = "api"
SCOPE = "accounts:read files:read files:write"
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Material:
    """Where the peers find their keys, and the mint for tokens bound to `client.pem`."""

    directory: Path
    es_key: ec.EllipticCurvePrivateKey
    rs_key: rsa.RSAPrivateKey
    thumbprint: str  # x5t#S256 of client.pem (RFC 8705 §3.1)

    @property
    def client(self) -> Path:
        """Certificate and key of the client the tokens are bound to."""
        return self.directory / "client.pem"

    @property
    def other(self) -> Path:
        """A second client's, from the same authority: it holds a stolen token."""
        return self.directory / "other.pem"

    def tokens(self, name: str, count: int, make: Callable[[int], str]) -> Path:
        """A file of `count` tokens, one a line; made once a run."""
        path = self.directory / f"{name}.tokens"
        if not path.exists():
            path.write_text("".join(f"{make(number)}\n" for number in range(count)))
        return path

    def es256(self, number: int = 0) -> str:
        """An ES256 access token (RFC 9068) bound to the client's certificate."""
        return self._es256(self.claims(number))

    def es256_for(self, confirmation: dict[str, str]) -> str:
        """The same with this `cnf` (RFC 7800)."""
        return self._es256({**self.claims(0), "cnf": confirmation})

    def expired(self, number: int = 0) -> str:
        """The same, a day too late."""
        claims = self.claims(number)
        return self._es256({**claims, "exp": int(time.time()) - _DAY})

    def forged(self, number: int = 0) -> str:
        """The same with another token's signature."""
        return self.es256(number).rpartition(".")[0] + "." + self.es256(number + 1).rpartition(".")[2]

    def _es256(self, claims: dict[str, object]) -> str:
        head = _encode(json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": "es"}).encode())
        signed = f"{head}.{_compact(claims)}"
        r, s = decode_dss_signature(self.es_key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def rs256(self, number: int = 0) -> str:
        """An RS256 access token (RFC 9068) bound to the client's certificate."""
        head = _encode(json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "rs"}).encode())
        signed = f"{head}.{_compact(self.claims(number))}"
        return f"{signed}.{_encode(self.rs_key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def claims(self, number: int) -> dict[str, object]:
        """The claims of token `number`; the same for a token and for the answer to its introspection."""
        now = int(time.time())
        return {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": f"user-{number}",
            "client_id": "client",
            "scope": SCOPE,
            "iat": now,
            "exp": now + _DAY,
            "jti": f"{number:08x}",
            "cnf": {"x5t#S256": self.thumbprint},
        }


def make_material(directory: Path) -> Material:
    """A certificate authority, a server, two clients, an ES256 and an RS256 key, and what each peer reads."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in (*directory.glob("*.tokens"), *directory.glob("*.proofs")):
        old.unlink()
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("bench authority", authority_key, None)
    _write(directory / "ca.pem", _pem(authority))
    for name in ("server", "client", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, (authority, authority_key))
        _write(directory / f"{name}.crt", _pem(certificate))
        _write(directory / f"{name}.key", _private(key))
        _write(directory / f"{name}.pem", _pem(certificate) + _private(key))
    client = x509.load_pem_x509_certificate((directory / "client.crt").read_bytes())
    es_key = ec.generate_private_key(ec.SECP256R1())
    rs_key = rsa.generate_private_key(65537, 2048)
    _write(directory / "es.pub", _public(es_key.public_key()))
    _write(directory / "rs.pub", _public(rs_key.public_key()))
    keys = [{**key, "kid": kid, "use": "sig", "alg": alg} for kid, alg, key in _jwks(es_key, rs_key)]
    _write(directory / "jwks.json", json.dumps({"keys": keys}).encode())
    digest = hashlib.sha256(client.public_bytes(Encoding.DER)).digest()
    return Material(directory, es_key, rs_key, _encode(digest))


def _jwks(
    es_key: ec.EllipticCurvePrivateKey, rs_key: rsa.RSAPrivateKey
) -> list[tuple[str, str, dict[str, str]]]:
    point, modulus = es_key.public_key().public_numbers(), rs_key.public_key().public_numbers()
    es = {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
    rs = {"kty": "RSA", "n": _number(modulus.n, 256), "e": "AQAB"}
    return [("es", "ES256", es), ("rs", "RS256", rs)]


def bare_jwks(directory: Path) -> list[str]:
    """The public keys as single JWKs without `kid`, `use` and `alg`, which some peers want so."""
    keys: list[dict[str, str]] = json.loads((directory / "jwks.json").read_text())["keys"]
    return [json.dumps({k: v for k, v in key.items() if k not in {"kid", "use", "alg"}}) for key in keys]


def compile_client(source: Path, build: Path) -> tuple[Path, Path]:
    """The load client, and the shim that lends wrk a certificate; compiled when their source is newer."""
    build.mkdir(parents=True, exist_ok=True)
    load, shim = build / "load", build / "certificate_shim.so"
    newest = max(path.stat().st_mtime for path in source.iterdir())
    if not load.exists() or load.stat().st_mtime < newest:
        _compile(["-O2", "-o", str(load), str(source / "load.c"), "-lssl", "-lcrypto"])
        _compile(["-shared", "-fPIC", "-O2", "-o", str(shim), str(source / "certificate_shim.c"), "-ldl"])
    return load, shim


def _compile(arguments: list[str]) -> None:
    subprocess.run(["gcc", "-Wall", "-Wextra", *arguments], check=True)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"{name.split(maxsplit=1)[0]}.example.com")]),
            critical=False,
        )
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600 if path.suffix in {".pem", ".key"} else 0o644)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _number(value: int, size: int) -> str:
    return _encode(value.to_bytes(size, "big"))


def _compact(claims: dict[str, object]) -> str:
    return _encode(json.dumps(claims, separators=(",", ":")).encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
