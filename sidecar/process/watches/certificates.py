"""The certificates and revocation lists that the configuration names: who they are for and when they run out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from sidecar.proxy.configuration import ProxySettings
from sidecar.proxy.tls.revocation import revocation_lists
from sidecar.telemetry.metrics import Sample


@dataclass(frozen=True, slots=True)
class CertificateInUse:
    """The certificate or revocation list of a file that runs out first."""

    file: str
    use: str
    """`listener main`, `client authorities of main`, `upstream`, `upstream authorities`."""
    subject: str
    """RFC 4514."""
    not_before: int
    """Seconds since the epoch."""
    not_after: int
    """Seconds since the epoch."""
    is_ours: bool
    """We present it: an expired one fails every handshake."""
    is_list: bool = False
    """It is a revocation list; `subject` is its issuer."""


def certificates_in_use(settings: ProxySettings) -> tuple[CertificateInUse, ...]:
    """One entry per file; a file of several certificates is as old as its first to expire. A revocation list that
    names no end has no entry.

    Raises OSError and ValueError for files that have changed since they were checked.
    """
    found = [_read(file, use, is_ours=ours) for file, use, ours in _files(settings)]
    for listener in settings.listeners:
        if listener.tls.crl_file is not None:
            found += _list(listener.tls.crl_file, f"revoked clients of {listener.name}")
    return tuple(found)


def _files(settings: ProxySettings) -> Iterator[tuple[Path, str, bool]]:
    for listener in settings.listeners:
        yield listener.tls.certificate_file, f"listener {listener.name}", True
        if listener.tls.ca_file is not None:
            yield listener.tls.ca_file, f"client authorities of {listener.name}", False
    upstream = settings.upstream.tls
    if upstream.certificate_file is not None:
        yield upstream.certificate_file, "upstream", True
    if upstream.ca_file is not None:
        yield upstream.ca_file, "upstream authorities", False


def _read(file: Path, use: str, *, is_ours: bool) -> CertificateInUse:
    found = x509.load_pem_x509_certificates(file.read_bytes())
    first = min(found, key=lambda one: one.not_valid_after_utc)
    return CertificateInUse(
        str(file),
        use,
        first.subject.rfc4514_string(),
        int(max(one.not_valid_before_utc for one in found).timestamp()),
        int(first.not_valid_after_utc.timestamp()),
        is_ours,
    )


def _list(file: Path, use: str) -> Iterator[CertificateInUse]:
    lists = [
        (one.next_update, one) for one in revocation_lists(file.read_bytes()) if one.next_update is not None
    ]
    if lists:
        end, first = min(lists, key=lambda one: one[0])
        issuer = first.crl.issuer.rfc4514_string()
        yield CertificateInUse(
            str(file), use, issuer, int(first.this_update), int(end), is_ours=False, is_list=True
        )


def samples(certificates: tuple[CertificateInUse, ...]) -> Iterator[Sample]:
    """From when to when each is valid; a file that is used twice counts once."""
    for one in {one.file: one for one in certificates}.values():
        if one.is_list:
            yield Sample("sidecar_crl_this_update_seconds", (one.file,), one.not_before)
            yield Sample("sidecar_crl_next_update_seconds", (one.file,), one.not_after)
        else:
            yield Sample("sidecar_certificate_not_before_seconds", (one.file,), one.not_before)
            yield Sample("sidecar_certificate_not_after_seconds", (one.file,), one.not_after)
