"""Files of trust that are allowed, yet near their end or with a gap: what `sidecar check` warns of."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Final

from sidecar.decision.certificate import Certificate, Unreadable
from sidecar.proxy.tls.revocation import RevocationList
from sidecar.settings.document import Document
from sidecar.settings.files import certificates, crls, is_there
from sidecar.settings.operation_sections import ServiceFile
from sidecar.settings.policies import SOON
from sidecar.settings.problem import Problem, shown

_CERTIFICATES: Final = frozenset({"certificate_file", "ca_file"})


def expiry(setting: str, file: Path, now: float) -> str | None:
    """What there is to say of the end of a file of certificates or revocation lists at `now`, if anything."""
    if setting in _CERTIFICATES:
        first_to_end = min(certificates(file), key=lambda one: one.not_after)
        begin, end = first_to_end.not_before, first_to_end.not_after
        if not isfinite(end):
            return f"{shown(str(file))} holds a certificate whose dates cannot be read"
        return _ending(file, begin, end, datetime.fromtimestamp(end, UTC).date().isoformat(), now)
    if setting == "crl_file":
        ends = [(one.next_update, one) for one in crls(file) if one.next_update is not None]
        if len(ends) < len(crls(file)):
            return f"{shown(str(file))} holds a list without nextUpdate: nobody will notice when it is old"
        end_of_list, first = min(ends, key=lambda one: one[0])
        date = first.crl.next_update_utc
        told = _ending(file, first.this_update, end_of_list, f"{date.date() if date else ''}", now)
        return told and f"{told}: from then on it refuses every client that it could speak of"
    return None


def _ending(file: Path, begin: float, end: float, date: str, now: float) -> str | None:
    # What lives for hours is renewed within hours: the last quarter of its life is soon enough.
    if end - now > min(SOON, (end - begin) / 4):
        return None
    return f"{shown(str(file))} {'expired' if end <= now else 'expires'} on {date}"


def unlisted_authorities(document: Document, service: ServiceFile) -> Iterator[Problem]:
    """Client authorities of which `crl_file` holds no list."""
    for index, listener in enumerate(service.listeners):
        section = listener.client_certificate
        if section.ca_file is None or section.crl_file is None:
            continue
        if not (is_there(section.ca_file) and is_there(section.crl_file)):
            continue
        names = _unlisted(certificates(section.ca_file), crls(section.crl_file))
        for name in names:
            message = (
                f"{shown(str(section.crl_file))} holds no list of {shown(name)}: a client that it certified itself "
                "is refused, an authority that it certified "
                + ("too" if section.crl_required_for == "chain" else "is not checked for revocation")
            )
            yield document.warning(("listeners", index, "client_certificate", "crl_file"), message)


def _unlisted(authorities: Sequence[Certificate], lists: Sequence[RevocationList]) -> list[str]:
    issuers = {one.issuer for one in lists}
    return [
        one.called
        for one in authorities
        if isinstance(one.fields, Unreadable) or bytes(one.fields.subject) not in issuers
    ]
