"""The certificates that the configuration names: who they are for and when they run out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from sidecar.proxy.configuration import ProxySettings
from sidecar.telemetry.metrics import Sample


@dataclass(frozen=True, slots=True)
class CertificateInUse:
    """The certificate of a file that runs out first."""

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


def certificates_in_use(settings: ProxySettings) -> tuple[CertificateInUse, ...]:
    """One entry per file; a file of several certificates is as old as its first to expire.

    Raises OSError and ValueError for files that have changed since they were checked.
    """
    return tuple(_read(file, use, is_ours=ours) for file, use, ours in _files(settings))


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


def samples(certificates: tuple[CertificateInUse, ...]) -> Iterator[Sample]:
    """From when to when each is valid; a file that is used twice counts once."""
    for one in {one.file: one for one in certificates}.values():
        yield Sample("sidecar_certificate_not_before_seconds", (one.file,), one.not_before)
        yield Sample("sidecar_certificate_not_after_seconds", (one.file,), one.not_after)
