"""A client certificate in DER: every field a value or a named "unreadable", and every condition a verdict."""

from sidecar.decision.certificate import NEVER_VALID, Unreadable
from sidecar.decision.certificate_condition import CertificateName, NameField, NamePattern, names_of
from sidecar.decision.client_certificate import ClientCertificate
from sidecar.proxy.certificates import UnusableCertificate, client_certificate
from tests.support.odd_certificates import ALL

SEEDS = [one.der for one in list(ALL.values())] + [b"", b"\x30\x00", b"\x30\x84\xff\xff\xff\xff", b"0" * 64]
_PATTERNS = ("*.a.example", "**.**.a.example", "spiffe://**/ns/*/sa/x", "CN=a")


def target(data: bytes) -> None:
    """Whatever OpenSSL accepts has a thumbprint and can be asked for anything; so can what it does not."""
    _ask(ClientCertificate(data, NEVER_VALID))
    try:
        found = client_certificate(data)
    except UnusableCertificate:
        return
    assert len(found.thumbprint) == 32
    _ask(found)


def _ask(certificate: ClientCertificate) -> None:
    assert certificate.called
    assert certificate.serial_number
    for field in NameField:
        names = names_of(certificate, field)
        assert isinstance(names, Unreadable) or all(isinstance(name, str) for name in names)
        condition = CertificateName(field, tuple(NamePattern(text, field) for text in _PATTERNS))
        for pattern in condition.patterns:
            for name in () if isinstance(names, Unreadable) else names:
                assert pattern.fits(name) in (True, False)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
