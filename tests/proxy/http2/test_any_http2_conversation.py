"""Any conversation over HTTP/2, well-formed or spoilt, whatever the API does meanwhile: each decision has exactly one
record, nothing is left when the client has gone, and nothing of ours breaks (`Conversation` sees to that).
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from sidecar.decision.denial import Reason
from sidecar.http.message import Field
from sidecar.proxy.configuration import HTTP2, Limits, Timeouts
from tests.support.conversation import UPSTREAM, Conversation, Upstream
from tests.support.http2_client import RawHttp2
from tests.support.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    request,
)

PADDED = 8
FIELDS: list[tuple[Field, ...]] = [
    (),
    ((b"content-length", b"0"),),
    ((b"content-length", b"5"),),
    ((b"X", b"y"),),
    ((b"te", b"trailers"), (b"content-type", b"application/grpc")),
    ((b"priority", b"u=1"),),
]
HTTP1_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"1f40\r\n" + b"z" * 8000 + b"\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 103 Early\r\n\r\n",
    b"junk\r\n\r\n",
]


def http2_answer(of: Random) -> bytes:
    number = 2 * of.randrange(8) + 1
    status = block([(b":status", b"200")])
    return of.choice(
        [
            frame(HEADERS, END_HEADERS | END_STREAM, number, status),
            frame(HEADERS, END_HEADERS, number, status),
            frame(HEADERS, END_HEADERS, number, block([(b":status", b"103")])),
            frame(HEADERS, END_HEADERS | END_STREAM, number, block([(b"grpc-status", b"0")])),
            frame(DATA, of.choice([0, END_STREAM]), number, b"yy" * of.choice([1, 4000])),
            frame(RST_STREAM, 0, number, of.choice([0, 7, 8]).to_bytes(4)),
            frame(SETTINGS, 0, 0, b"\0\4" + of.choice([0, 1, 65535]).to_bytes(4)),
            frame(GOAWAY, 0, 0, number.to_bytes(4) + bytes(4)),
        ]
    )


class Anybody:
    """A client, and an API, that do anything."""

    def __init__(self, talk: Conversation, of: Random, *, is_http2: bool) -> None:
        self.talk, self.of, self.is_http2 = talk, of, is_http2
        self.client = RawHttp2(talk, settles=of.random() < 0.8)
        self.blocks = 0
        """Field blocks: no more requests can have come."""
        self._next = 1
        self._greeted: set[int] = set()
        self._is_pending = True

    def stream(self) -> int:
        last = self._next - 2
        return max(1, last - 2 * self.of.randrange(6)) if self.of.random() < 0.9 else self.of.randrange(9)

    def head(self) -> bytes:
        self.blocks += 1
        number, self._next = self._next, self._next + 2
        path, method = self.of.choice(["/a", "/no", "/slow"]), self.of.choice(["GET", "POST", "HEAD"])
        flags = self.of.choice([END_HEADERS, END_HEADERS | END_STREAM])
        return frame(HEADERS, flags, number, block(request(path, method, *self.of.choice(FIELDS))))

    def trailers(self) -> bytes:
        self.blocks += 1
        return frame(HEADERS, END_HEADERS | END_STREAM, self.stream(), block([(b"x-t", b"1")]))

    def other(self) -> bytes:
        of, number = self.of, self.stream()
        return of.choice(
            [
                frame(DATA, of.choice([0, END_STREAM]), number, b"x" * of.choice([0, 1, 5, 3000])),
                frame(DATA, PADDED | END_STREAM, number, b"\2xxx\0\0"),
                frame(RST_STREAM, 0, number, of.choice([0, 7, 8]).to_bytes(4)),
                frame(WINDOW_UPDATE, 0, of.choice([0, number]), of.choice([1, 500, 70_000]).to_bytes(4)),
                frame(WINDOW_UPDATE, 0, number, of.choice([b"\0\0\0\1", b"\x7f\xff\xff\xff", bytes(4)])),
                frame(SETTINGS, 0, 0, b"\0\4" + of.choice([0, 1, 100, 65_535, 1 << 20]).to_bytes(4)),
                frame(PING, 0, 0, bytes(8)),
                frame(PRIORITY, 0, number or 1, bytes(5)),
                frame(0x77, 0xFF, number, b"?"),
                *(
                    [frame(SETTINGS, ACK, 0), frame(GOAWAY, 0, 0, bytes(8)), b"junk" * 5]
                    * (of.random() < 0.1)
                ),
            ]
        )

    def writes(self) -> None:
        of = self.of
        makes = of.choices([self.head, self.trailers, self.other], [6, 1, 13], k=of.choice([1, 1, 3, 8]))
        data = b"".join(make() for make in makes)
        at = of.choice([0, of.randrange(len(data))])
        self.client.writes(data[:at], data[at:]) if at else self.client.writes(data)

    def answers(self) -> None:
        upstreams = [one for one in self.talk.upstreams if not one.is_closed]
        if upstreams:
            self._says(self.of.choice(upstreams))

    def _says(self, upstream: Upstream) -> None:
        if not self.is_http2:
            upstream.says(self.of.choice(HTTP1_ANSWERS))
            return
        if id(upstream) not in self._greeted:
            self._greeted.add(id(upstream))
            upstream.says(frame(SETTINGS, 0, 0, b"\0\3" + self.of.choice([1, 3, 100]).to_bytes(4)))
        upstream.says(http2_answer(self.of))

    def decides(self) -> None:
        if self._is_pending:
            self._is_pending = False
            self.talk.decide("/slow")

    def acts(self) -> None:
        """Something happens."""
        client = self.client.client
        what: list[Callable[[], object]] = [
            self.answers,
            client.stops_reading,
            client.reads,
            lambda: self.talk.later(self.of.choice([0.3, 2, 11, 21])),
            self.decides,
            client.says_no_more,
            self.talk.server.begin_drain,
        ]
        self.of.choices(what, [40, 5, 10, 7, 2, 1, 0.5])[0]()


@pytest.mark.parametrize("is_http2", [False, True], ids=["an API of HTTP/1.1", "an API of HTTP/2"])
@pytest.mark.parametrize("seed", range(60))
def test_each_decision_has_one_record_and_nothing_is_left(seed: int, *, is_http2: bool) -> None:
    of = Random(seed)
    limits = Limits(
        concurrent_streams=of.choice([2, 8, 100]),
        stream_resets=of.choice([3, 200]),
        buffered_bytes=of.choice([2000, 65_536]),
        requests_per_connection=of.choice([0, 0, 6]),
    )
    timeouts = of.choice([Timeouts(), Timeouts(connection_age=20.0, idle=30.0)])
    upstream = replace(UPSTREAM, protocol=HTTP2) if is_http2 else UPSTREAM
    with Conversation(limits=limits, timeouts=timeouts, upstream=upstream) as talk:
        talk.gate.refuse("/no", Reason.CREDENTIALS_MISSING)
        talk.ponders("/slow")
        anybody = Anybody(talk, of, is_http2=is_http2)
        client = anybody.client.client
        for _ in range(of.randrange(5, 60)):
            if client.is_closed:
                break
            anybody.writes()
            anybody.acts()
        client.reads()
        if not client.is_closed:
            ends: list[Callable[[], object]] = [client.leaves, client.closes, lambda: talk.later(400.0)]
            of.choice(ends)()
        if not client.is_closed:
            client.leaves()
        talk.later(5.0)
        records = talk.observed.records
        assert len(talk.gate.asked) <= len(records) <= anybody.blocks
        assert len({record.request_id for record in records}) == len(records)
        assert (talk.server.under_way.count, talk.server.under_way.streams) == (0, 0)
        assert talk.server.connections == 0
