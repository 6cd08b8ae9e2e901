"""Client certificates for cases, generated for one run."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.certificates import certificates as certificates_in
from sidecar.proxy.certificates import client_certificate
from sidecar.rehearsal.trial.result import CaseMistake
from sidecar.settings.case_certificate import CaseCertificate
from sidecar.settings.problem import shown
from sidecar.trust.certification import Signer, Subject, Use, certify, distinguished, new_key

_DAY = 86400.0
_HOUR = 3600.0

Issue = Callable[[str], ClientCertificate]
"""Name → certificate; the same name always gives the same one."""


def authority(certificates: Mapping[str, CaseCertificate], now: float) -> Issue:
    """A function that issues the certificates of one case file, at `now` (seconds since the epoch)."""

    @cache
    def issue(name: str) -> ClientCertificate:
        wanted = certificates.get(name, CaseCertificate())
        if wanted.file is not None:
            return client_certificate(certificates_in(wanted.file.read_bytes())[0].der)
        try:
            return client_certificate(_certificate(name, wanted, now).public_bytes(Encoding.DER))
        except (ValueError, OverflowError) as error:  # dates that a certificate cannot have
            raise CaseMistake(f"the certificate {shown(name)} cannot be made: {error}") from None

    return issue


def _certificate(name: str, wanted: CaseCertificate, now: float) -> x509.Certificate:
    moment = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    expiry = moment + timedelta(seconds=_DAY if wanted.expires_in is None else wanted.expires_in)
    subject = Subject(
        wanted.common_name or name,
        Use.CLIENT,
        min(moment, expiry) - timedelta(seconds=_HOUR),
        expiry,
        tuple(wanted.alternative_names()),
        tuple(wanted.subject(name)),
    )
    issued_by = None if wanted.issued_by is None else Signer(distinguished(wanted.issued_by), new_key())
    return certify(subject, new_key(), issued_by)
