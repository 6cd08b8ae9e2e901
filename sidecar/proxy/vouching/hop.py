"""One connection of a proxy, over which the requests of many clients come."""

from hashlib import sha256
from typing import Final, Protocol

from sidecar.decision.reason import Reason
from sidecar.decision.request import Presenter, RequestHead
from sidecar.http.fields import RequestFields
from sidecar.http.message import Fault, Field
from sidecar.proxy.vouching.proxies import Peer, own_certificate
from sidecar.proxy.vouching.told import Known, ToldCertificates
from sidecar.telemetry.record import AuditRecord

_NEVER: Final = float("inf")
_KEPT: Final = 8
"""Presenters that one connection remembers, each of some 1.5 kB."""


class Tells(Protocol):
    """The listener."""

    certificates: ToldCertificates | None
    """Under the present configuration."""


class Kept:
    """A presenter, and until when nothing about it has to be looked at again."""

    __slots__ = ("presenter", "until")

    def __init__(self, presenter: Presenter, until: float) -> None:
        self.presenter = presenter
        self.until = until


class Hop:
    """What is known of the other end, and who presents what over it."""

    __slots__ = ("_kept", "_like", "_listener", "_source", "_told_by", "base", "proxy", "until")

    def __init__(self, listener: Tells, source: ToldCertificates, told_by: Peer, like: Presenter) -> None:
        """`like` holds what is the same for all requests of the connection. What TLS was negotiated with the proxy says
        nothing of the clients' own.
        """
        self._listener = listener
        self._told_by = told_by
        self._like = like
        self._kept: dict[bytes, Kept] = {}
        """By the digest of the field, so that one client's presenter is never used for another."""
        self._source = source
        self.proxy = ""
        """What a record calls the proxy; empty: it is not listed, and nothing that it says of clients is taken."""
        self.until = _NEVER
        """Seconds since the epoch: when the proxy's own certificate ends."""
        self.base = like
        """The presenter of a request that comes without a certificate."""
        self._begin(source)

    def _begin(self, source: ToldCertificates) -> None:
        """Under a new configuration nothing that was found under another holds."""
        self._source, self._kept = source, {}
        self.proxy = source.proxies.name_of(self._told_by)
        self.until = source.proxies.until(self._told_by) if self.proxy else _NEVER
        self.base = self._presenter(None)

    def identify(self, head: RequestHead, fields: RequestFields, record: AuditRecord) -> Fault | None:
        """Tell a request's record who presents it, or say why that is not known."""
        record.path, record.host = head.path, head.host
        presenter = self.presenter(fields, record.started)
        if isinstance(presenter, Fault):
            return presenter
        record.presenter = presenter
        return None

    def presenter(self, fields: RequestFields, now: float) -> Presenter | Fault:
        """Who presents a request at `now` (seconds since the epoch), or why that cannot be said."""
        source = self._listener.certificates
        if source is not self._source and source is not None:
            self._begin(source)
        told = fields.certificates
        if not told:
            return self.base
        name, value = told[0]
        if len(told) > 1 or name.lower() != self._source.name:
            return self._read_several(told, now)
        key = sha256(value).digest()
        kept = self._kept.get(key)
        if kept is not None and now < kept.until:
            return kept.presenter
        return self._read(told, key, now)

    def accepts(self, presenter: Presenter) -> bool:
        """Whether the proxy may still say so, and whether the certificate still passes: after a change."""
        source = self._listener.certificates
        if source is not self._source and source is not None:
            self._begin(source)
        certificate = presenter.client_certificate
        if certificate is None:
            return True
        return bool(self.proxy) and self._source.accepts(certificate, presenter.chain)

    def _read_several(self, told: list[Field], now: float) -> Presenter | Fault:
        """Fields under the names of other listeners are ignored; the key covers names and values."""
        mine = [(name.lower(), value) for name, value in told if name.lower() in self._source.names]
        if not mine:
            return self.base
        return self._read(mine, sha256(b"\n".join([b"%b:%b" % field for field in mine])).digest(), now)

    def _read(self, told: list[Field], key: bytes, now: float) -> Presenter | Fault:
        if not self.proxy:
            name = told[0][0].decode("ascii", "replace").lower()
            detail = f"{name} from {self._told_by.called}, which is not in `proxies`"
            return Fault(Reason.CERTIFICATE_HEADER_UNTRUSTED, detail)
        known = self._source.read(told, key, now)
        if known is None:
            return self.base
        if isinstance(known, Fault):
            return known
        if own_certificate(self._told_by, known.certificate):
            detail = "the field holds the proxy's own certificate, not the client's"
            return Fault(Reason.CERTIFICATE_HEADER_MALFORMED, detail)
        presenter = self._presenter(known, now)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[key] = Kept(presenter, min(known.until, presenter.ends))
        return presenter

    def _presenter(self, known: Known | None, now: float = 0.0) -> Presenter:
        like, ends = self._like, _NEVER
        if known is not None and known.certificate.not_after > now:
            ends = known.certificate.not_after
        return Presenter(
            known.certificate if known is not None else None,
            like.listener,
            like.peer,
            certificate_must_be_valid=self._source.requires_valid,
            protocol=like.protocol,
            chain=known.chain if known is not None else (),
            is_told=True,
            proxy=self.proxy,
            ends=ends,
        )
