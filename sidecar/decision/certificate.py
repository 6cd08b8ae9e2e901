"""An X.509 certificate as facts (RFC 5280 §4.1). Each field is read once, when someone asks for it, and totally: a
value, or `Unreadable`.

OpenSSL decides whether a certificate is one, when it is valid and who vouches for it. Nothing here refuses what
OpenSSL accepted: the thumbprint needs the DER encoding alone, and a name that cannot be read only fails the
conditions that ask for it.
"""

from hashlib import sha256
from typing import Final

from sidecar.decision.canonical_name import CanonicalName, canonical
from sidecar.decision.der import (
    BOOLEAN,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    elements,
    object_identifier,
    only,
)
from sidecar.decision.distinguished_name import (
    CONTROL,
    Unreadable,
    attribute_values,
    hexadecimal,
    rfc4514,
    text_value,
)
from sidecar.decision.strict import Malformed, base64url_text

__all__ = ["NEVER_VALID", "AlternativeNames", "Certificate", "Unreadable"]

NEVER_VALID: Final = (float("inf"), float("-inf"))
"""The validity of a certificate whose dates OpenSSL cannot read."""

_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_UNIQUE_IDENTIFIERS: Final = (0x81, 0x82)
_SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
_OF_VERSION_3: Final = 2

_MOST_NAMES: Final = 256
"""The most names of one kind: every condition looks at each, and the client may have made the certificate itself."""
_OTHER_NAME: Final = 0xA0
_EXPLICIT_VALUE: Final = 0xA0
_RFC822_NAME: Final = 0x81
_DNS_NAME: Final = 0x82
_DIRECTORY_NAME: Final = 0xA4
_URI: Final = 0x86
_IP_ADDRESS: Final = 0x87
_REGISTERED_ID: Final = 0x88
_UNREAD: Final = {0xA3: "an x400Address", 0xA5: "an ediPartyName"}


class AlternativeNames:
    """The subject alternative names of the kinds that conditions know (RFC 5280 §4.2.1.6)."""

    __slots__ = ("dns", "email", "ip", "other", "uri")

    def __init__(self) -> None:
        self.dns: tuple[str, ...] = ()
        """As they are written in the certificate."""
        self.uri: tuple[str, ...] = ()
        self.email: tuple[str, ...] = ()
        self.ip: tuple[bytes, ...] = ()
        """Four or sixteen octets each; any number of them, since no condition looks at each."""
        self.other: tuple[tuple[str, str | Unreadable], ...] = ()
        """Each otherName: the object identifier of its type, empty where that cannot be read, and its value."""


class Fields:
    """Where the fields of the part that is signed are (RFC 5280 §4.1)."""

    __slots__ = ("extensions", "issuer", "public_key", "serial_number", "signed", "subject", "version")

    def __init__(self, der: bytes) -> None:
        """Raises `Malformed`."""
        certificate = only(memoryview(der)).expect(SEQUENCE, "certificate")
        signed = next(elements(certificate), None)
        if signed is None:
            raise Malformed("no certificate")
        self.signed = signed.encoded
        parts = list(elements(signed.expect(SEQUENCE, "certificate")))
        self.version = _version(parts.pop(0)) if parts and parts[0].tag == _VERSION else 0
        if len(parts) < 6:
            raise Malformed("fields are missing")
        serial_number, _algorithm, issuer, _validity, subject, public_key, *rest = parts
        self.serial_number = serial_number.expect(INTEGER, "serial number")
        self.issuer, self.subject, self.public_key = issuer.encoded, subject.encoded, public_key.encoded
        rest = [one for one in rest if one.tag not in _UNIQUE_IDENTIFIERS]
        self.extensions = rest[0].expect(_EXTENSIONS, "extensions") if rest else None


def _version(element: Element) -> int:
    """0 to 2 (v1 to v3); raises `Malformed`."""
    number = only(element.content).expect(INTEGER, "version")
    if bytes(number) not in (b"\0", b"\1", b"\2"):
        raise Malformed("an unknown version of X.509")
    return number[0]


class Certificate:
    """A certificate, without proof of who holds its key."""

    __slots__ = (
        "_alternative_names", "_attributes", "_canonical_subject", "_issuer", "_subject", "der",
        "not_after", "not_before", "thumbprint", "thumbprint_text",
    )  # fmt: skip

    def __init__(self, der: bytes, validity: tuple[float, float]) -> None:
        """`der` is the DER encoding; `validity` is from when to when, as OpenSSL reads it (see `not_before`)."""
        self.der = der
        self.thumbprint: bytes = sha256(der).digest()
        """SHA-256 of the DER encoding, 32 bytes (RFC 8705 §3.1)."""
        self.thumbprint_text = base64url_text(self.thumbprint)
        """The thumbprint as `x5t#S256` writes it: base64url without padding."""
        self.not_before, self.not_after = validity
        """Seconds since the epoch; `NEVER_VALID` when the dates cannot be read."""
        self._subject: str | Unreadable | None = None
        self._canonical_subject: CanonicalName | Unreadable | None = None
        self._issuer: str | Unreadable | None = None
        self._alternative_names: AlternativeNames | Unreadable | None = None
        self._attributes: dict[str, tuple[str, ...] | Unreadable] | None = None

    @property
    def fields(self) -> Fields | Unreadable:
        """Where its fields are. Not kept: a connection may live for days, and most are asked for one name, once."""
        try:
            return Fields(self.der)
        except Malformed as problem:
            return Unreadable(str(problem), hexadecimal(memoryview(self.der)))

    @property
    def subject(self) -> str | Unreadable:
        """The subject's distinguished name (RFC 4514)."""
        if self._subject is None:
            fields = self.fields
            self._subject = fields if isinstance(fields, Unreadable) else rfc4514(fields.subject)
        return self._subject

    @property
    def canonical_subject(self) -> CanonicalName | Unreadable:
        """The subject in the form in which equal names are equal."""
        if self._canonical_subject is None:
            fields = self.fields
            self._canonical_subject = fields if isinstance(fields, Unreadable) else canonical(fields.subject)
        return self._canonical_subject

    @property
    def issuer(self) -> str | Unreadable:
        """The issuer's distinguished name (RFC 4514)."""
        if self._issuer is None:
            fields = self.fields
            self._issuer = fields if isinstance(fields, Unreadable) else rfc4514(fields.issuer)
        return self._issuer

    @property
    def alternative_names(self) -> AlternativeNames | Unreadable:
        """The subject alternative names; empty without the extension."""
        if self._alternative_names is None:
            fields = self.fields
            if not isinstance(fields, Unreadable):
                self._alternative_names = _alternative_names(fields)
            else:
                self._alternative_names = fields
        return self._alternative_names

    def subject_attribute(self, identifier: str) -> tuple[str, ...] | Unreadable:
        """The values of one attribute of the subject (`distinguished_name.ATTRIBUTES`), read once."""
        known = self._attributes
        if known is None:
            known = self._attributes = {}
        found = known.get(identifier)
        if found is None:
            fields = self.fields
            found = fields if isinstance(fields, Unreadable) else attribute_values(fields.subject, identifier)
            known[identifier] = found
        return found

    def other_name(self, identifier: str) -> tuple[str, ...] | Unreadable:
        """The values of the otherNames of one type (RFC 5280 §4.2.1.6): a user principal name, for instance."""
        names = self.alternative_names
        if isinstance(names, Unreadable):
            return names
        found = []
        for kind, value in names.other:
            if kind in (identifier, "") and isinstance(value, Unreadable):
                return value
            if kind == identifier:
                found.append(str(value))
        return tuple(found)

    @property
    def called(self) -> str:
        """For people: its subject or, since a certificate may have none, its serial number."""
        return str(self.subject) or f"serial number {self.serial_number}"

    @property
    def serial_number(self) -> str:
        """In hexadecimal, as OpenSSL shows it; 0 and negative ones, which no authority should give, too."""
        fields = self.fields
        if isinstance(fields, Unreadable):
            return str(fields)
        return f"{int.from_bytes(fields.serial_number, 'big', signed=True):x}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.thumbprint.hex()[:16]}…)"


def _alternative_names(fields: Fields) -> AlternativeNames | Unreadable:
    if fields.extensions is None:
        return AlternativeNames()
    found: memoryview | None = None
    try:
        if fields.version != _OF_VERSION_3:  # RFC 5280 §4.1.2.9
            raise Malformed(f"extensions in a certificate of version {fields.version + 1}")
        found = extensions(fields.extensions).get(_SUBJECT_ALTERNATIVE_NAME)
        return AlternativeNames() if found is None else _names(found)
    except Malformed as problem:
        return Unreadable(str(problem), hexadecimal(fields.extensions if found is None else found))


def extensions(content: memoryview) -> dict[str, memoryview]:
    """Each extension's value, by its identifier; raises `Malformed`."""
    values: dict[str, memoryview] = {}
    for extension in elements(only(content).expect(SEQUENCE, "sequence of extensions")):
        parts = list(elements(extension.expect(SEQUENCE, "extension")))
        if len(parts) == 3 and parts[1].tag == BOOLEAN:
            del parts[1]
        if len(parts) != 2:
            raise Malformed("no extension")
        identifier = object_identifier(parts[0].expect(OBJECT_IDENTIFIER, "extension"))
        if identifier in values:  # RFC 5280 §4.2
            raise Malformed(f"two extensions {identifier}")
        values[identifier] = parts[1].expect(OCTET_STRING, "extension's value")
    return values


def _names(content: memoryview) -> AlternativeNames:
    """Raises `Malformed`: one name that is not what its kind says makes all of them doubtful."""
    dns: list[str] = []
    uri: list[str] = []
    email: list[str] = []
    addresses: list[bytes] = []
    other: list[tuple[str, str | Unreadable]] = []
    kinds = {_DNS_NAME: dns, _URI: uri, _RFC822_NAME: email}
    for name in elements(only(content).expect(SEQUENCE, "sequence of names")):
        names = kinds.get(name.tag)
        if names is not None:
            names.append(_ia5(name.content))
            if len(names) > _MOST_NAMES:
                raise Malformed(f"more than {_MOST_NAMES} names of one kind")
        elif name.tag == _OTHER_NAME:
            other.append(_other_name(name))
            if len(other) > _MOST_NAMES:
                raise Malformed(f"more than {_MOST_NAMES} names of one kind")
        elif name.tag in _UNREAD:
            raise Malformed(_UNREAD[name.tag])
        elif name.tag == _IP_ADDRESS:
            if len(name.content) not in (4, 16):
                raise Malformed("an address that is none")
            addresses.append(bytes(name.content))
        elif name.tag not in (_DIRECTORY_NAME, _REGISTERED_ID):
            raise Malformed("a name of an unknown kind")
    found = AlternativeNames()
    found.dns, found.uri, found.email, found.other = tuple(dns), tuple(uri), tuple(email), tuple(other)
    found.ip = tuple(addresses)
    return found


def _other_name(name: Element) -> tuple[str, str | Unreadable]:
    """Its type and value. One that cannot be read concerns only who asks for an otherName."""
    kind = ""
    try:
        parts = list(elements(name.content))
        if len(parts) != 2:
            raise Malformed("no type and value")
        kind = object_identifier(parts[0].expect(OBJECT_IDENTIFIER, "type of an otherName"))
        return kind, text_value(only(parts[1].expect(_EXPLICIT_VALUE, "value of an otherName")))
    except Malformed as problem:
        return kind, Unreadable(str(problem), hexadecimal(name.content))


def _ia5(content: memoryview) -> str:
    """Text; raises `Malformed`. A NUL or another control character has made readers see another name than was
    certified.
    """
    try:
        text = bytes(content).decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("a name beyond ASCII") from None
    if CONTROL.search(text):
        raise Malformed("a control character in a name")
    return text
