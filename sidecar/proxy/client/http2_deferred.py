"""Requests over HTTP/2 that declare no content and have not ended.

Theory of operation. `Content-Length: 0` without END_STREAM may be followed by content; then the request is malformed
(RFC 9113 §8.1.1). So such a request begins when its stream ends, and until then nobody knows of it. If its stream does
not end, it is begun with a fault: it gets an answer if somebody waits for one, and a record in any case.
"""

from abc import abstractmethod
from typing import Final

from sidecar.decision.denial import Reason
from sidecar.decision.request import Presenter
from sidecar.http.forwarding import Forwarding
from sidecar.http.http2_request import Http2Request
from sidecar.http.message import Fault
from sidecar.proxy.client.host import Host
from sidecar.proxy.client.http2_turns import ENDED_AT_ONCE, Http2Turns
from sidecar.proxy.client.link import Link
from sidecar.proxy.exchange.snapshot import Serving
from sidecar.proxy.native import mypyc_attr

_STALLED: Final = Fault(Reason.REQUEST_TIMEOUT, "the request did not end in time")
_DISTRUSTED: Final = Fault(Reason.CERTIFICATE_EXPIRED, "the certificate is no longer accepted")
_UNFINISHED: Final = Fault(Reason.REQUEST_MALFORMED, "the client has left before its request ended")


@mypyc_attr(allow_interpreted_subclasses=True)
class Http2Deferred(Http2Turns):
    """The part of a connection that keeps these requests."""

    __slots__ = ("_deferred", "_is_gone", "_takes_back")

    def __init__(
        self, link: Link, host: Host, presenter: Presenter, certificate_until: float, forwarding: Forwarding
    ) -> None:
        super().__init__(link, host, presenter, certificate_until, forwarding)
        self._deferred: dict[int, tuple[Http2Request, float]] = {}
        """Stream number → request, with the time when it arrived. The oldest is the first."""
        self._is_gone = False
        """The client has disconnected: nobody waits for an answer."""
        self._takes_back = False
        """More of them are recorded in the next turns."""

    @abstractmethod
    def _begin(self, number: int, request: Http2Request, serving: Serving, *, is_closed: bool) -> None:
        """Begin a request. `is_closed`: the engine has closed its stream."""

    def _begin_deferred(
        self, number: int, fault: Fault | None, *, ends: bool, is_closed: bool = False
    ) -> None:
        """Begin a request; `fault` says what is wrong with it, `ends` whether its stream has ended."""
        request = self._deferred.pop(number)[0]
        request.complete, request.fault = ends, fault or request.fault
        self._begin(number, request, self._host.serving, is_closed=is_closed)

    def _take_back(self, number: int) -> None:
        """The client has cancelled a request, or the engine has closed its stream."""
        self._begin_deferred(number, _UNFINISHED, ends=True, is_closed=True)

    def _distrust_deferred(self) -> None:
        """The client would be refused now: no decision may be made about them later."""
        for number in tuple(self._deferred):
            self._begin_deferred(number, _DISTRUSTED, ends=False)

    # --- the client has left -------------------------------------------------------------------------

    def _take_all_back(self) -> None:
        """The client sends no more. A few are handled in each turn."""
        if self._deferred and not self._takes_back:
            self._take_some_back()

    def _take_some_back(self) -> None:
        numbers = tuple(self._deferred)
        some = numbers if self._host.draining else numbers[:ENDED_AT_ONCE]
        self._takes_back = len(some) < len(numbers)
        if self._takes_back:
            self._host.call_soon(self._take_more_back, self.refusals)
        for number in some:
            try:
                self._begin_deferred(number, _UNFINISHED, ends=self._is_gone, is_closed=self._is_gone)
            except Exception as error:  # noqa: BLE001 — a bug must not keep the records of other requests back
                self._host.report_bug(error)

    def _take_more_back(self) -> None:
        self._guarded(self._take_some_back)

    # --- time ----------------------------------------------------------------------------------------

    def _has_stalled(self) -> bool:
        """Whether one has not ended in time."""
        within = self._host.settings.timeouts.request_head
        return bool(self._deferred) and self.now() - next(iter(self._deferred.values()))[1] >= within

    def _end_stalled(self) -> None:
        """Answer a few: those of many connections may be due at once."""
        for number in tuple(self._deferred)[:ENDED_AT_ONCE]:
            if self._has_stalled() and not self._link.is_ending:
                self._begin_deferred(number, _STALLED, ends=False)

    def _end_more_stalled(self) -> None:
        self._guarded(self._end_stalled)
