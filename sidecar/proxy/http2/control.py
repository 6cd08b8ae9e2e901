"""The frames of HTTP/2 that carry neither fields nor content, as an endpoint receives them (RFC 9113 §6)."""

from typing import Final

from sidecar.proxy.http2 import frames
from sidecar.proxy.http2.events import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    Http2Events,
)
from sidecar.proxy.http2.frames import ACK, FRAME_MOST, INITIAL_WINDOW, WINDOW_MOST
from sidecar.proxy.http2.outbound import Outbound
from sidecar.proxy.http2.streams import Stream
from sidecar.proxy.native import mypyc_attr

_REPLIES_MOST: Final = 1000
"""Frames that only answer others, while the peer takes no output (CVE-2019-9512, CVE-2019-9515)."""
_FRAME_LARGEST: Final = (1 << 24) - 1
_SETTING: Final = 6
"""Bytes of one setting."""
_SETTINGS_MOST: Final = 32
"""Settings in one frame: there are not that many, and a frame has room for 2,730 (CVE-2020-11080)."""


class Broken(Exception):
    """An error of the connection (RFC 9113 §5.4.1): its code and cause."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@mypyc_attr(allow_interpreted_subclasses=False)
class Control(Outbound):
    """The part of an endpoint that handles them."""

    __slots__ = (
        "_events",
        "_has_settings",
        "_is_acknowledged",
        "_is_server",
        "_no_priorities",
        "_window_said",
    )

    def __init__(self, events: Http2Events, *, is_server: bool, window: int) -> None:
        super().__init__(is_server=is_server)
        self._events = events
        self._is_server = is_server
        self._window_said = window
        """SETTINGS_INITIAL_WINDOW_SIZE, as it was sent."""
        self._is_acknowledged = False
        """The peer knows our settings."""
        self._has_settings = False
        """The first frame of the peer has arrived."""
        self._no_priorities = 0
        """SETTINGS_NO_RFC7540_PRIORITIES of the first SETTINGS."""

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(FRAME_SIZE_ERROR, "WINDOW_UPDATE that is not of 4 bytes")
        more = int.from_bytes(payload, "big") & WINDOW_MOST
        if not number:
            if not more:
                raise Broken(PROTOCOL_ERROR, "WINDOW_UPDATE with a window_size_increment of 0")
            self._window += more
            if self._window > WINDOW_MOST:
                raise Broken(FLOW_CONTROL_ERROR, "a window of the connection of more than 2^31-1")
        else:
            stream = self._find(number)
            if stream is None:
                self._check_not_idle(number)
            elif not more:
                self._refuse(stream, PROTOCOL_ERROR)
            else:
                self._widen_stream(stream, more)
        self._events.noise(of_window=more)

    def _widen_stream(self, stream: Stream, more: int) -> None:
        stream.out_window += more
        if stream.out_window > WINDOW_MOST:
            self._refuse(stream, FLOW_CONTROL_ERROR)
        elif stream.queued:
            self._make_ready(stream)

    def _rare(self, kind: int, number: int, flags: int, payload: bytes) -> None:
        if kind == frames.RST_STREAM:
            self._reset_arrived(number, payload)
        elif kind == frames.SETTINGS:
            self._settings(number, flags, payload)
        elif kind == frames.PING:
            self._ping_arrived(number, flags, payload)
        elif kind == frames.GOAWAY:
            self._goaway(number, payload)
        elif kind == frames.PUSH_PROMISE:
            raise Broken(PROTOCOL_ERROR, "PUSH_PROMISE")
        elif kind == frames.PRIORITY:
            self._priority(number, payload)
        else:
            self._events.noise(of_window=0)  # RFC 9113 §4.1: an unknown frame is ignored

    def _reset_arrived(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(FRAME_SIZE_ERROR, "RST_STREAM that is not of 4 bytes")
        stream = self._find(number)
        if stream is None:
            self._check_not_idle(number)
        code = int.from_bytes(payload, "big")
        if stream is not None:
            self._close(stream, code)  # before it is reported: RFC 9113 §5.4.2 permits no answer
        self._events.reset(number, code)

    def _settings(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise Broken(PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & ACK:
            self._settings_acknowledged(payload)
            return
        if len(payload) % _SETTING:
            raise Broken(FRAME_SIZE_ERROR, "SETTINGS that are not of 6 bytes each")
        if len(payload) > _SETTINGS_MOST * _SETTING:
            raise Broken(ENHANCE_YOUR_CALM, f"more than {_SETTINGS_MOST} settings in a frame")
        is_first, self._has_settings = not self._has_settings, True
        most = window = -1
        for at in range(0, len(payload), _SETTING):
            name = int.from_bytes(payload[at : at + 2], "big")
            value = int.from_bytes(payload[at + 2 : at + _SETTING], "big")
            if name == frames.MAX_CONCURRENT_STREAMS:
                most = value
            elif name == frames.INITIAL_WINDOW_SIZE:
                if value > WINDOW_MOST:
                    raise Broken(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE of more than 2^31-1")
                window = value
            elif name == frames.NO_RFC7540_PRIORITIES:
                self._check_priorities(value, is_first=is_first)
            else:
                self._set(name, value)
        if window >= 0:
            self._set_window(window)  # once for all of the frame: it goes through all streams
        self._reply(frames.frame(frames.SETTINGS, ACK, 0, b""))
        self._events.settled(most)

    def _check_priorities(self, value: int, *, is_first: bool) -> None:
        """RFC 9218 §2.1: it is 0 or 1, and never changes."""
        if is_first and value <= 1:
            self._no_priorities = value
        elif value != self._no_priorities:
            raise Broken(
                PROTOCOL_ERROR, "a value of SETTINGS_NO_RFC7540_PRIORITIES that is none, or another one"
            )

    def _settings_acknowledged(self, payload: bytes) -> None:
        if payload:
            raise Broken(FRAME_SIZE_ERROR, "SETTINGS with ACK and content")
        if self._is_acknowledged:
            raise Broken(PROTOCOL_ERROR, "SETTINGS with ACK that acknowledge nothing")
        self._is_acknowledged = True
        # RFC 9113 §6.9.2: the peer has sent by the initial value until it knew ours.
        more, self._initial_in = self._window_said - INITIAL_WINDOW, self._window_said
        for stream in self._streams.values():
            stream.in_window += more
            self.took(stream.number, 0)  # what was taken may be half of the new window

    def _set(self, name: int, value: int) -> None:
        if name == frames.HEADER_TABLE_SIZE:
            self._encoder.resize(value)
        elif name == frames.ENABLE_PUSH:
            if value > (1 if self._is_server else 0):
                raise Broken(PROTOCOL_ERROR, "a value of SETTINGS_ENABLE_PUSH that is none")
        elif name == frames.MAX_FRAME_SIZE and not FRAME_MOST <= value <= _FRAME_LARGEST:
            raise Broken(PROTOCOL_ERROR, "a value of SETTINGS_MAX_FRAME_SIZE that is none")

    def _set_window(self, value: int) -> None:
        more, self._initial_out = value - self._initial_out, value
        for stream in self._streams.values():
            stream.out_window += more
            if stream.out_window > WINDOW_MOST:
                raise Broken(
                    FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE makes a window of more than 2^31-1"
                )
            if stream.queued:
                self._make_ready(stream)

    def _reply(self, frame: bytes) -> None:
        """Answer a frame. Such answers are the peer's to take."""
        self._replies += 1
        if self._replies > _REPLIES_MOST:
            raise Broken(ENHANCE_YOUR_CALM, "frames that are only answered, and no output is taken")
        self._out.append(frame)

    def _ping_arrived(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise Broken(PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise Broken(FRAME_SIZE_ERROR, "PING that is not of 8 bytes")
        if not flags & ACK:
            self._reply(frames.frame(frames.PING, ACK, 0, payload))
        elif self._pings:
            self._pings -= 1
            self._events.pong()
            return
        self._events.noise(of_window=0)

    def _goaway(self, number: int, payload: bytes) -> None:
        if number:
            raise Broken(PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise Broken(FRAME_SIZE_ERROR, "GOAWAY of less than 8 bytes")
        last = int.from_bytes(payload[:4], "big") & WINDOW_MOST
        self._final = True
        self._events.goaway(last, int.from_bytes(payload[4:8], "big"))
        if not self._is_server:
            for stream in [one for one in self._streams.values() if one.number > last]:
                self._close(stream, REFUSED_STREAM)

    def _priority(self, number: int, payload: bytes) -> None:
        """RFC 9113 §5.3.2: nothing is made of it."""
        if not number:
            raise Broken(PROTOCOL_ERROR, "PRIORITY of stream 0")
        if len(payload) != 5:
            stream = self._find(number)
            if stream is None:
                raise Broken(FRAME_SIZE_ERROR, "PRIORITY that is not of 5 bytes")
            self._refuse(stream, FRAME_SIZE_ERROR)
        self._events.noise(of_window=0)

    def _refuse(self, stream: Stream, code: int) -> None:
        """An error of the stream (RFC 9113 §5.4.2)."""
        self.reset(stream.number, code)

    def _check_not_idle(self, number: int) -> None:
        """An idle stream permits no frame but HEADERS and PRIORITY (RFC 9113 §5.1)."""
        if number & 1 == 0 or (number > self._last if self._is_server else number >= self._next):
            raise Broken(PROTOCOL_ERROR, "a frame of a stream that is idle")
