"""A header field with a client certificate: the certificate that it holds, none, or a refusal, in each format."""

from sidecar.http.certificate_field import (
    CertificateFieldMalformed,
    CertificateFormat,
    FieldCertificates,
    emit,
    parse,
)

_LEAF, _AUTHORITY = b"\x30\x82\x01\x00" + b"l" * 256, b"\x30\x81\x90" + b"a" * 144
_BOTH = FieldCertificates(_LEAF, (_AUTHORITY,))
SEEDS = [
    value
    for form in CertificateFormat
    for given in (_BOTH, FieldCertificates(_LEAF))
    for value in emit(form, given)
    if value
] + [b'By=a;Subject="CN=a\\"b";URI=spiffe://a/b;DNS=a,Hash=00', b"(null)", b":AA==:, :AA==:"]


def target(data: bytes) -> None:
    """What is read is what is written back; a value has no second spelling where its format has one."""
    for form in CertificateFormat:
        try:
            found = parse(form, [data])
        except CertificateFieldMalformed:
            continue
        if found is None:
            continue
        value, chain = emit(form, found)
        assert parse(form, [value], [chain] if chain else []) == found
        if form in (CertificateFormat.RFC9440, CertificateFormat.DER_BASE64):
            assert value == data.strip(b" \t")


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
