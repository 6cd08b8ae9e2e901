"""Certificate revocation lists (RFC 5280 §5): read from a file, PEM or DER."""

from dataclasses import dataclass
from typing import Final

from cryptography import x509

from sidecar.decision.der import SEQUENCE, elements, only
from sidecar.decision.distinguished_name import rfc4514
from sidecar.decision.strict import Malformed

_BEGIN: Final = b"-----BEGIN X509 CRL-----"
_END: Final = b"-----END X509 CRL-----"


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One revocation list."""

    crl: x509.CertificateRevocationList
    this_update: float
    """Seconds since the epoch."""
    next_update: float | None
    """Seconds since the epoch; None: the list has no nextUpdate (RFC 5280 §5.1.2.5 requires one)."""

    @property
    def issuer(self) -> bytes:
        """The issuer's name, DER, exactly as in the list: some libraries cannot represent every name. Empty if it
        cannot be found.
        """
        try:
            parts = elements(only(memoryview(self.crl.tbs_certlist_bytes)).content)
            # RFC 5280 §5.1: TBSCertList ::= SEQUENCE { version OPTIONAL, signature, issuer, … }
            sequences = [bytes(one.encoded) for one in parts if one.tag == SEQUENCE]
        except Malformed:
            return b""
        return sequences[1] if len(sequences) > 1 else b""

    @property
    def issuer_name(self) -> str:
        """The issuer's name for display (RFC 4514)."""
        return str(rfc4514(memoryview(self.issuer)))


def revocation_lists(data: bytes) -> tuple[RevocationList, ...]:
    """All lists of a PEM file, or the one list of a DER file; at least one. Raises `ValueError`."""
    if _BEGIN in data:
        blocks = [_BEGIN + block for block in data.split(_BEGIN)[1:]]
        if any(_END not in block for block in blocks):
            raise ValueError("a PEM CRL ends before its last line")
        return tuple(_list(x509.load_pem_x509_crl(block)) for block in blocks)
    return (_list(x509.load_der_x509_crl(data)),)


def _list(crl: x509.CertificateRevocationList) -> RevocationList:
    end = crl.next_update_utc
    return RevocationList(crl, crl.last_update_utc.timestamp(), end.timestamp() if end is not None else None)
