"""The client certificate of a policy case: its section, and what it says as a certificate says it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from cryptography import x509
from pydantic import Field, model_validator

from sidecar.decision.distinguished_name import ATTRIBUTES
from sidecar.settings.certificate_requirement import OTHER_NAMES, check_types
from sidecar.settings.files import CertificateFile
from sidecar.settings.moment import Span
from sidecar.settings.scalars import Text, Texts
from sidecar.settings.section import Section, mistake


def _utf8_string(text: str) -> bytes:
    """DER of a UTF8String (X.690 §8.1.3, §8.23)."""
    content = text.encode()
    size = len(content)
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"\x0c" + (bytes([size]) if size < 128 else bytes([128 | len(length)]) + length) + content


class CaseCertificate(Section):
    """A client certificate, made for the run; or one from a file."""

    common_name: Text | None = None
    """Default: the certificate's name in this file, unless `subject_attributes` has a CN."""
    subject_attributes: dict[str, Texts] = Field(default_factory=dict)
    """Further attributes of the subject (O, OU, UID, organizationIdentifier, …), in this order; by name or object
    identifier."""
    san_dns: list[Text] = Field(default_factory=list)
    """DNS names."""
    san_uri: list[Text] = Field(default_factory=list)
    """URIs, a SPIFFE ID for instance."""
    san_email: list[Text] = Field(default_factory=list)
    """Mail addresses."""
    san_other_name: dict[str, Texts] = Field(default_factory=dict)
    """otherNames, each by its type: UPN (user principal name) or an object identifier."""
    issued_by: Text | None = None
    """Common name of the authority, made too. Default: self-signed."""
    expires_in: Span | None = None
    """From the case's moment on. Default: 24h."""
    file: CertificateFile | None = None
    """PEM; only its first certificate is taken, and no key is needed."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.file is not None and len(self.model_fields_set) > 1:
            raise mistake("a certificate from a file cannot be changed", "file")
        return self

    @model_validator(mode="after")
    def _names(self) -> Self:
        check_types("subject_attributes", self.subject_attributes, ATTRIBUTES, "attribute of a subject")
        check_types("san_other_name", self.san_other_name, OTHER_NAMES, "type of an otherName")
        if self.common_name is not None and "CN" in self.subject_attributes:
            raise mistake("`common_name` is the CN already", "subject_attributes")
        makers = {"subject_attributes": lambda: self.subject("-"), **self._san_makers()}
        for key, make in makers.items():
            try:
                make()
            except ValueError as error:
                raise mistake(f"no certificate can say that: {error}", key) from None
        return self

    def _san_makers(self) -> Mapping[str, Callable[[], Sequence[x509.GeneralName]]]:
        """Key → its names."""
        return {
            "san_dns": lambda: [x509.DNSName(name) for name in self.san_dns],
            "san_uri": lambda: [x509.UniformResourceIdentifier(name) for name in self.san_uri],
            "san_email": lambda: [x509.RFC822Name(name) for name in self.san_email],
            "san_other_name": self._other_names,
        }

    def alternative_names(self) -> list[x509.GeneralName]:
        """Every subject alternative name."""
        return [name for make in self._san_makers().values() for name in make()]

    def subject(self, name: str) -> list[x509.NameAttribute[str]]:
        """The attributes of the subject; `name` is the default of the first. Raises `ValueError`."""
        given = [(kind, value) for kind, values in self.subject_attributes.items() for value in values]
        if not {"CN", ATTRIBUTES["CN"]} & self.subject_attributes.keys():
            given.insert(0, ("CN", (self.common_name or name)[:64] or "-"))
        return [
            x509.NameAttribute(x509.ObjectIdentifier(ATTRIBUTES.get(kind, kind)), value)
            for kind, value in given
        ]

    def _other_names(self) -> list[x509.OtherName]:
        return [
            x509.OtherName(x509.ObjectIdentifier(OTHER_NAMES.get(kind, kind)), _utf8_string(value))
            for kind, values in self.san_other_name.items()
            for value in values
        ]
