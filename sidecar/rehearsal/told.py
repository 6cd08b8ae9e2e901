"""The client's certificate from a field of the request, if the listener gets it from a proxy (RFC 9440).

The data plane's own reader reads and verifies it. The request is assumed to come from a listed proxy, because a
request does not show its sender.
"""

from dataclasses import replace

from sidecar.decision.denial import Denial, Failure
from sidecar.decision.request import Presenter
from sidecar.http.message import Fault, Field
from sidecar.proxy.configuration import ListenerSettings, ToldCertificateSettings
from sidecar.proxy.vouching.told import ToldCertificates

_LISTED = "(one of `proxies`)"


class Unverifiable(Exception):
    """A file of authorities or lists cannot be read; the message is one line."""


def presented(
    settings: ToldCertificateSettings, fields: list[Field], assumed: Presenter, now: float
) -> Presenter | Denial:
    """The presenter of a request with these fields at `now` (seconds since the epoch).

    Without a field it is `assumed`: its certificate counts as one that the proxy sent and that was accepted. Raises
    `Unverifiable`.
    """
    reader = _reader(settings)
    known = reader.read([field for field in fields if field[0].lower() in reader.names], b"", now)
    if isinstance(known, Fault):
        expected = f"one certificate, as {settings.format.value} writes it"
        return Denial(known.reason, (Failure("request.certificate", known.reason, expected, known.detail),))
    return Presenter(
        assumed.client_certificate if known is None else known.certificate,
        assumed.listener,
        assumed.peer,
        certificate_must_be_valid=reader.requires_valid,
        protocol=assumed.protocol,
        chain=() if known is None else known.chain,
        is_told=True,
        proxy=_LISTED,
    )


def of_listener(listeners: tuple[ListenerSettings, ...], name: str) -> ToldCertificateSettings | None:
    """The certificate source of a listener, if it has one."""
    return next((one.told for one in listeners if one.name == name), None)


def _reader(settings: ToldCertificateSettings) -> ToldCertificates:
    try:
        return ToldCertificates(replace(settings, proxies=()))
    except (OSError, ValueError) as error:
        raise Unverifiable(
            f"the authorities of clients: {getattr(error, 'strerror', None) or error}"
        ) from None
