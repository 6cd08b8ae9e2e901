"""The certificates and revocation lists that the configuration names: who they are for and when they run out."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from sidecar.proxy.certificates import certificates
from sidecar.proxy.configuration import ProxySettings
from sidecar.proxy.tls.authorities import read_authorities
from sidecar.proxy.tls.revocation import revocation_lists
from sidecar.telemetry.metrics import Sample

_CERTIFICATE = ("sidecar_certificate_not_before_seconds", "sidecar_certificate_not_after_seconds")
_LIST = ("sidecar_crl_this_update_seconds", "sidecar_crl_next_update_seconds")


@dataclass(frozen=True, slots=True)
class CertificateInUse:
    """The certificate or revocation list of a file that runs out first."""

    file: str
    use: str
    """`listener main`, `client authorities of main`, `upstream`, `upstream authorities`."""
    subject: str
    """RFC 4514; why not, when it cannot be read; the serial number when there is none."""
    not_before: int | None
    """Seconds since the epoch; None when OpenSSL cannot read the dates."""
    not_after: int | None
    """Seconds since the epoch; None when OpenSSL cannot read the dates."""
    is_ours: bool
    """The sidecar presents it: an expired one fails every handshake."""
    is_list: bool = False
    """It is a revocation list; `subject` is its issuer."""

    def fault(self, now: float) -> str:
        """Why it is not valid at `now` (seconds since the epoch); empty when it is."""
        if self.not_before is None or self.not_after is None:
            return "dates that cannot be read"
        return "expired" if now > self.not_after else "not valid yet" if now < self.not_before else ""


def certificates_in_use(settings: ProxySettings) -> tuple[CertificateInUse, ...]:
    """One entry per file; a file of several certificates is as old as its first to expire. A revocation list that
    names no end has no entry.

    Raises OSError and ValueError for files that have changed since they were checked.
    """
    found = [_read(file, use, is_ours=ours) for file, use, ours in _files(settings)]
    for listener in settings.listeners:
        if listener.clients.crl_file is not None:
            found += _list(listener.clients.crl_file, f"revoked clients of {listener.name}")
    return tuple(found)


def _files(settings: ProxySettings) -> Iterator[tuple[Path, str, bool]]:
    for listener in settings.listeners:
        if listener.tls is not None:
            yield listener.tls.certificate_file, f"listener {listener.name}", True
        if listener.clients.ca_file is not None:
            yield listener.clients.ca_file, f"client authorities of {listener.name}", False
        for proxy in listener.told.proxies if listener.told is not None else ():
            if proxy.ca_file is not None:
                yield proxy.ca_file, f"authorities of proxies of {listener.name}", False
    upstream = settings.upstream.tls
    if upstream.certificate_file is not None:
        yield upstream.certificate_file, "upstream", True
    if upstream.ca_file is not None:
        yield upstream.ca_file, "upstream authorities", False


def _read(file: Path, use: str, *, is_ours: bool) -> CertificateInUse:
    data = file.read_bytes()
    found = certificates(data) if is_ours else read_authorities(data).readable
    first = min(found, key=lambda one: one.not_after)
    return CertificateInUse(
        str(file),
        use,
        first.called,
        _whole(max(one.not_before for one in found)),
        _whole(first.not_after),
        is_ours,
    )


def _list(file: Path, use: str) -> Iterator[CertificateInUse]:
    lists = [
        (one.next_update, one) for one in revocation_lists(file.read_bytes()) if one.next_update is not None
    ]
    if lists:
        end, first = min(lists, key=lambda one: one[0])
        issuer = first.issuer_name
        yield CertificateInUse(
            str(file), use, issuer, int(first.this_update), int(end), is_ours=False, is_list=True
        )


def _whole(seconds: float) -> int | None:
    return int(seconds) if isfinite(seconds) else None


def samples(certificates: tuple[CertificateInUse, ...]) -> Iterator[Sample]:
    """The validity of each; a file that is used twice counts once."""
    for one in {one.file: one for one in certificates}.values():
        start, end = _LIST if one.is_list else _CERTIFICATE
        if one.not_before is not None:
            yield Sample(start, (one.file,), one.not_before)
        if one.not_after is not None:
            yield Sample(end, (one.file,), one.not_after)
