"""The sections of a file of clients (`client_files`): who may ask for tokens, and how each proves who it is."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from sidecar.decision.canonical_name import MalformedName
from sidecar.decision.registered_client.name import NameKind, RegisteredName, registered_name
from sidecar.settings.files import FileName
from sidecar.settings.issuer_sections import Algorithm, Url
from sidecar.settings.problem import shown
from sidecar.settings.scalars import Form, Text
from sidecar.settings.section import Section, mistake

ClientId = Annotated[str, Form(r"^[\x20-\x7e]+$", "a client_id of printable ASCII (RFC 6749 §A.1)", 512)]
NAMES = tuple(kind.value for kind in NameKind)
_CERTIFICATES = ("certificate_files", "jwks_file", "jwks_url")
_MAY = {
    "tls_client_auth": {*NAMES, "ca_file", "crl_file", "partial_chain", "translate"},
    "self_signed_tls_client_auth": {*_CERTIFICATES, "translate"},
    "other": {"certificate"},
}
_TRANSLATION = {
    "client_secret_basic": {"client_secret_file"},
    "client_secret_post": {"client_secret_file"},
    "private_key_jwt": {"key_file"},
}
_OF_ASSERTION = {"algorithm", "key_id", "audience"}


class TranslateSection(Section):
    """How the server is told who the client is, by credentials of the sidecar's; the client never sees them."""

    method: Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]
    """`token_endpoint_auth_method` of the client at the server (RFC 7591 §2)."""
    client_secret_file: FileName | None = None
    """With client_secret_basic and client_secret_post: one line."""
    key_file: FileName | None = None
    """With private_key_jwt: PEM."""
    algorithm: Algorithm | None = None
    """With private_key_jwt. Default: what fits the key."""
    key_id: Text | None = None
    """With private_key_jwt: the `kid` of the assertion."""
    audience: Text | None = None
    """With private_key_jwt. Default: the issuer identifier."""
    insecure_secret_readable_by_everyone: bool = False
    """DANGEROUS: accepts a secret or key that every user of the machine may read."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needed = _TRANSLATION[self.method]
        given = self.model_fields_set - {"method", "insecure_secret_readable_by_everyone"}
        for name in sorted(needed - given):
            raise mistake(f"`method: {self.method}` needs `{name}`", "method")
        may = needed | (_OF_ASSERTION if self.method == "private_key_jwt" else set())
        for name in sorted(given - may):
            raise mistake(f"`{name}` has no effect with `method: {self.method}`", name)
        return self

    @property
    def secret(self) -> Path:
        """The file that holds the secret or the key."""
        found = self.client_secret_file or self.key_file
        assert found is not None  # noqa: S101 — `_fits`
        return found


class ClientSection(Section):
    """One client of the authorization server."""

    client_id: ClientId
    """As it is registered at the server."""
    method: Literal["tls_client_auth", "self_signed_tls_client_auth", "other"]
    """By a certificate of an authority (RFC 8705 §2.1), by a certificate that is registered itself (§2.2), or `other`:
    by a secret or an assertion of its own, which goes to the server as it is."""
    ca_file: FileName | None = None
    """With tls_client_auth: PEM, the authorities that vouch for this client's certificate."""
    crl_file: FileName | None = None
    """With tls_client_auth: PEM or DER, lists of certificates that they revoked."""
    partial_chain: bool | None = None
    """true: a chain may end in any authority of `ca_file`, root or not. Default: false."""
    subject_dn: Text | None = None
    """The subject, as RFC 4514 writes it: `CN=tpp-1,O=Bank,C=DE`. Exactly one of the five names."""
    san_dns: Text | None = None
    """A dNSName of the certificate; no wildcards."""
    san_uri: Text | None = None
    """A uniformResourceIdentifier of the certificate, character for character."""
    san_ip: Text | None = None
    """An iPAddress of the certificate."""
    san_email: Text | None = None
    """An rfc822Name of the certificate."""
    certificate_files: Annotated[list[FileName], Field(min_length=1)] | None = None
    """With self_signed_tls_client_auth: PEM, the client's certificates: the one in use and the next."""
    jwks_file: FileName | None = None
    """With self_signed_tls_client_auth: a JWK set whose keys have their certificate in `x5c` (RFC 7517 §4.7)."""
    jwks_url: Url | None = None
    """With self_signed_tls_client_auth: where the client publishes such a set."""
    certificate: bool | None = None
    """With `other`: true: the server is told the certificate of the connection, whoever's it is, to bind tokens to it.
    Default: false."""
    translate: TranslateSection | None = None
    """Credentials that the sidecar adds once the client has proven who it is. Default: none."""

    _name: RegisteredName | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = self.model_fields_set - {"client_id", "method"}
        for name in sorted(given - _MAY[self.method]):
            raise mistake(f"`{name}` has no effect with `method: {self.method}`", name)
        if self.method == "tls_client_auth":
            self._check_name(given)
        elif self.method == "self_signed_tls_client_auth" and len(given & set(_CERTIFICATES)) != 1:
            choice = ", ".join(f"`{one}`" for one in _CERTIFICATES)
            raise mistake(f"`method: self_signed_tls_client_auth` needs exactly one of {choice}", "method")
        return self

    def _check_name(self, given: set[str]) -> None:
        names = sorted(given & set(NAMES))
        if len(names) != 1:
            came = f"got {', '.join(f'`{one}`' for one in names)}" if names else "got none"
            choice = ", ".join(f"`{one}`" for one in NAMES)
            message = f"`method: tls_client_auth` needs exactly one of {choice} (RFC 8705 §2.1.2), {came}"
            raise mistake(message, names[1] if names else "method")
        if self.ca_file is None:
            raise mistake(
                "`method: tls_client_auth` needs a `ca_file`: a name counts only with its authority", "method"
            )
        kind = NameKind(names[0])
        try:
            self._name = registered_name(kind, getattr(self, kind.value))
        except MalformedName as problem:
            raise mistake(f"{shown(getattr(self, kind.value))}: {problem}", kind.value) from None

    @property
    def registered_name(self) -> RegisteredName | None:
        """With tls_client_auth: the one name, parsed."""
        return self._name


class ClientsFile(Section):
    """A file of clients."""

    clients: list[ClientSection] = Field(default_factory=list)
    """Whoever is in no file is no client: `invalid_client`."""


def frame(data: Any) -> Any:
    """The file without its clients, which are validated one by one."""
    return (
        data | {"clients": []} if isinstance(data, dict) and isinstance(data.get("clients"), list) else data
    )
