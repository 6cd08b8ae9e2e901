"""The endpoints of an authorization server in cases. Certificates are generated for the run, so their authority is
given by its name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sidecar.authorizer import Authorizer
from sidecar.decision.canonical_name import canonical
from sidecar.decision.certificate import Certificate, Unreadable
from sidecar.decision.denial import Denied, Reason
from sidecar.proxy.authorization_server.authority import TrustedAuthority
from sidecar.proxy.authorization_server.clients import FixedCertificates, registry
from sidecar.proxy.authorization_server.configuration import AuthoritySettings
from sidecar.proxy.tls.authorities import read_authorities
from sidecar.rehearsal.endpoints import RehearsedEndpoints
from sidecar.settings.configuration import Loaded

_CHECK: Final = "client_authentication.chain"


class PlayedAuthority:
    """Accepts a generated certificate without `issued_by`, and one that is `issued_by` the name of an authority in
    the client's `ca_file`; for a certificate from a file, OpenSSL decides. Implements `ClientAuthority`.
    """

    def __init__(self, settings: AuthoritySettings) -> None:
        """Raises `OSError`, `ValueError` for a file that exists and cannot be used."""
        self._real = TrustedAuthority(settings) if _are_there(settings) else None
        self._names = _names(settings.ca_file)

    def verify(self, certificate: Certificate, chain: Sequence[bytes], now: float) -> float:
        """See `ClientAuthority`."""
        fields = certificate.fields
        if not isinstance(fields, Unreadable):
            issuer = canonical(fields.issuer)
            if issuer == certificate.canonical_subject or issuer in self._names:
                return certificate.not_after
        if self._real is not None:
            return self._real.verify(certificate, chain, now)
        raise Denied(
            Reason.CLIENT_CERTIFICATE_UNTRUSTED, _CHECK, "an authority of the client", str(certificate.issuer)
        )


def _are_there(settings: AuthoritySettings) -> bool:
    return settings.ca_file.is_file() and (settings.crl_file is None or settings.crl_file.is_file())


def _names(file: Path) -> list[object]:
    """Subjects of the authorities of a file; empty without a file."""
    found = read_authorities(file.read_bytes()).readable if file.is_file() else []
    return [one.canonical_subject for one in found if not isinstance(one.canonical_subject, Unreadable)]


def played_endpoints(loaded: Loaded, authorizer: Authorizer) -> RehearsedEndpoints | None:
    """None without an authorization server. Certificates at URLs are not fetched: clients that publish them have none
    here.

    Raises `OSError`, `ValueError`.
    """
    settings = loaded.authorization_server
    if settings is None:
        return None
    nothing = FixedCertificates(frozenset())
    published = {one.jwks_url: nothing for one in settings.clients if one.jwks_url is not None}
    return RehearsedEndpoints(settings, authorizer, registry(settings.clients, published, PlayedAuthority))
