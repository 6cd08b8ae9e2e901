"""One connection of a proxy that carries the requests of many clients."""

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
"""Maximum number of presenters that one connection caches; each takes some 1.5 kB."""


class Tells(Protocol):
    """What a hop uses of its listener."""

    certificates: ToldCertificates | None
    """The reader of certificates of the present configuration."""


class Kept:
    """A cached presenter, and the time until which it needs no new check."""

    __slots__ = ("presenter", "until")

    def __init__(self, presenter: Presenter, until: float) -> None:
        self.presenter = presenter
        self.until = until


class Hop:
    """The proxy of a connection, and the presenters of the requests on it."""

    __slots__ = ("_kept", "_like", "_listener", "_source", "_told_by", "base", "proxy", "until")

    def __init__(self, listener: Tells, source: ToldCertificates, told_by: Peer, like: Presenter) -> None:
        """`like` holds what is the same for all requests of the connection. The TLS parameters of the proxy are not
        used for the clients.
        """
        self._listener = listener
        self._told_by = told_by
        self._like = like
        self._kept: dict[bytes, Kept] = {}
        """Cached presenters by the digest of the field, so that one client's presenter is never used for another."""
        self._source = source
        self.proxy = ""
        """Name of the proxy in records; empty: it is not listed, and its fields about clients are ignored."""
        self.until = _NEVER
        """Seconds since the epoch: the end of the proxy's own certificate."""
        self.base = like
        """The presenter of a request without a certificate."""
        self._begin(source)

    def _begin(self, source: ToldCertificates) -> None:
        """Drop all cached results: they were found under another configuration."""
        self._source, self._kept = source, {}
        self.proxy = source.proxies.name_of(self._told_by)
        self.until = source.proxies.until(self._told_by) if self.proxy else _NEVER
        self.base = self._presenter(None)

    def identify(self, head: RequestHead, fields: RequestFields, record: AuditRecord) -> Fault | None:
        """Set the presenter in a request's record, or return why it is unknown."""
        record.path, record.host = head.path, head.host
        presenter = self.presenter(fields, record.started)
        if isinstance(presenter, Fault):
            return presenter
        record.presenter = presenter
        return None

    def presenter(self, fields: RequestFields, now: float) -> Presenter | Fault:
        """The presenter of a request at `now` (seconds since the epoch), or why it is unknown."""
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

    def rest(self) -> None:
        """The connection is idle: release what only requests need."""
        self.base.rest()
        for kept in self._kept.values():
            kept.presenter.rest()

    def accepts(self, presenter: Presenter) -> bool:
        """After a change: whether the proxy is still accepted, and whether the certificate still passes."""
        source = self._listener.certificates
        if source is not self._source and source is not None:
            self._begin(source)
        certificate = presenter.client_certificate
        if certificate is None:
            return True
        return bool(self.proxy) and self._source.accepts(certificate, presenter.chain)

    def _read_several(self, told: list[Field], now: float) -> Presenter | Fault:
        """Read the fields that this listener uses; others are ignored. The cache key covers names and values."""
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
