"""Warnings of `sidecar check` about certificates and lists that expire soon or are incomplete."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Final

from sidecar.decision.certificate import Certificate, Unreadable
from sidecar.proxy.tls.authorities import Authorities, is_root
from sidecar.proxy.tls.revocation import RevocationList
from sidecar.settings.document import Document
from sidecar.settings.files import authorities, certificates, crls, is_there
from sidecar.settings.operation_sections import ServiceFile
from sidecar.settings.policies import SOON
from sidecar.settings.problem import Problem, shown

_CERTIFICATES: Final = frozenset({"certificate_file", "ca_file"})


def expiry(setting: str, file: Path, now: float) -> str | None:
    """What there is to say of the end of a file of certificates or revocation lists at `now`, if anything."""
    if setting in _CERTIFICATES:
        found = authorities(file).readable if setting == "ca_file" else certificates(file)
        first_to_end = min(found, key=lambda one: one.not_after)
        begin, end = first_to_end.not_before, first_to_end.not_after
        if not isfinite(end):
            return f"{shown(str(file))} holds a certificate whose dates cannot be read"
        return _ending(file, begin, end, datetime.fromtimestamp(end, UTC).date().isoformat(), now)
    if setting == "crl_file":
        ends = [(one.next_update, one) for one in crls(file) if one.next_update is not None]
        if len(ends) < len(crls(file)):
            return f"{shown(str(file))} has a list without nextUpdate: nobody will notice when it is outdated"
        end_of_list, first = min(ends, key=lambda one: one[0])
        date = first.crl.next_update_utc
        told = _ending(file, first.this_update, end_of_list, f"{date.date() if date else ''}", now)
        return told and f"{told}: after that, all clients that it covers are refused"
    return None


def _ending(file: Path, begin: float, end: float, date: str, now: float) -> str | None:
    # What lives for hours is renewed within hours: the last quarter of its life is soon enough.
    if end - now > min(SOON, (end - begin) / 4):
        return None
    return f"{shown(str(file))} {'expired' if end <= now else 'expires'} on {date}"


def unlisted_authorities(document: Document, service: ServiceFile) -> Iterator[Problem]:
    """Client authorities without a list in `crl_file`."""
    for index, listener in enumerate(service.listeners):
        section = listener.client_certificate
        if section.ca_file is None or section.crl_file is None:
            continue
        if not (is_there(section.ca_file) and is_there(section.crl_file)):
            continue
        names = _unlisted(authorities(section.ca_file).readable, crls(section.crl_file))
        for name in names:
            message = (
                f"{shown(str(section.crl_file))} holds no list of {shown(name)}: a client that it certified itself "
                "is refused, an authority that it certified "
                + ("too" if section.crl_required_for == "chain" else "is not checked for revocation")
            )
            yield document.warning(("listeners", index, "client_certificate", "crl_file"), message)


def doubtful_authorities(document: Document, service: ServiceFile) -> Iterator[Problem]:
    """Client authorities that cannot be read, or that no chain can end in."""
    for index, listener in enumerate(service.listeners):
        section = listener.client_certificate
        if section.ca_file is None or not is_there(section.ca_file):
            continue
        found, file = authorities(section.ca_file), shown(str(section.ca_file))
        messages = [
            f"{file}: line {line}: a broken certificate is ignored, the others are not affected"
            for line in found.broken
        ]
        if not section.partial_chain:
            messages += [
                f"{file} holds {shown(name)}, but no root above it: a chain that leads to it is refused; add the root, "
                "or set `partial_chain: true`"
                for name in _rootless(found)
            ]
        for message in messages:
            yield document.warning(("listeners", index, "client_certificate", "ca_file"), message)


def _rootless(found: Authorities) -> list[str]:
    """The authorities from which no way leads up to a root of the same file."""
    left = list(zip(found.certificates, found.readable, strict=True))
    reached = {_subject(one) for x509, one in left if is_root(x509)}
    while below := [pair for pair in left if _issuer(pair[1]) in reached]:
        reached |= {_subject(one) for _, one in below}
        left = [pair for pair in left if pair not in below]
    return [one.called for _, one in left if _subject(one) not in reached]


def _subject(one: Certificate) -> bytes:
    return b"" if isinstance(one.fields, Unreadable) else bytes(one.fields.subject)


def _issuer(one: Certificate) -> bytes:
    return b"" if isinstance(one.fields, Unreadable) else bytes(one.fields.issuer)


def _unlisted(authorities: Sequence[Certificate], lists: Sequence[RevocationList]) -> list[str]:
    issuers = {one.issuer for one in lists}
    return [
        one.called
        for one in authorities
        if isinstance(one.fields, Unreadable) or bytes(one.fields.subject) not in issuers
    ]
