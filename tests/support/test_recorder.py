"""The recorder keeps what came, and names what it could not read."""

from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.tls_client import Wire, chunked


def test_recorder_keeps_exact_requests() -> None:
    with Recorder() as recorder, Wire.plain(recorder.port) as wire:
        assert wire.request("POST", "/a%2Fb?c", {"X-A": "1"}, b"body").body == b"seen"
        wire.send(
            b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunked(b"a", b"b", trailers={"T": "v"})
        )
        assert wire.response().status == 200
        first, second = recorder.seen
    assert (first.method, first.target, first.body, first.all("x-a")) == ("POST", "/a%2Fb?c", b"body", ["1"])
    assert (second.body, second.trailers) == (b"ab", (("T", "v"),))


def test_recorder_tells_cut_requests_from_broken_ones() -> None:
    with Recorder() as recorder:
        with Wire.plain(recorder.port) as wire:
            wire.send(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc")
        with Wire.plain(recorder.port) as wire:
            wire.send(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert wire.read_to_end() == b""
        eventually(lambda: recorder.cut == 1)
        assert recorder.seen == []
        assert "ambiguous" in recorder.broken[0]
