"""h2spec's cases of RFC 7540 §3 to §7 (part `http2`): the connection, streams, and each type of frame.

Its section numbers are those of RFC 7540; RFC 9113 kept them up to §7.
"""

from typing import Final

from tests.support.h2spec import (
    ANSWERS,
    COMPRESSION,
    DUMMY,
    ENDS,
    FLOW_CONTROL,
    FRAME_SIZE,
    GET,
    LARGE_SETTING,
    OVER,
    PADDED,
    POST,
    PRIORITIZED,
    PROTOCOL,
    REFUSED,
    STREAM_CLOSED,
    WHOLE,
    Case,
    acknowledges,
    answers,
    breaks,
    closes,
    data,
    goaway,
    head,
    more,
    ping,
    pongs,
    prefaces,
    priority,
    refuses,
    reset,
    resets,
    sends,
    settings,
    window,
)
from tests.support.http2_frames import ACK, PING, PREFACE, SETTINGS, block, frame

_UNKNOWN: Final = frame(0x16, 0, 0, bytes(8))
_UNFINISHED: Final = head(flags=ENDS)
_UNFINISHED_POST: Final = head(POST, flags=0)
_OPEN: Final = head(flags=WHOLE)
_OPEN_POST: Final = head(POST, flags=WHOLE)
_MISPLACED_PING: Final = ping(bytes(8), stream=3)

_CONNECTION: Final = (
    Case("http2/3.5/1", "client connection preface", (PREFACE + settings((4, 65535)),), prefaces, is_bare=True),
    Case("http2/3.5/2", "no connection preface", (b"INVALID CONNECTION PREFACE\r\n\r\n",), closes, is_bare=True),
    Case("http2/4.1/1", "frame of an unknown type", (_UNKNOWN, ping()), pongs()),
    Case("http2/4.1/2", "flags that are not defined", (ping(flags=0x16),), pongs()),
    Case("http2/4.1/3", "reserved bit", (ping(flags=0x16, stream=LARGE_SETTING),), pongs()),
    Case("http2/4.2/1", "DATA of 2^14 bytes", (_OPEN_POST, data(b"x" * 16384)), answers),
    Case("http2/4.2/2", "DATA past SETTINGS_MAX_FRAME_SIZE", (_OPEN_POST, data(b"x" * 16385)), refuses(FRAME_SIZE)),
    Case(
        "http2/4.2/3",
        "HEADERS past SETTINGS_MAX_FRAME_SIZE",
        (head(GET + block([(b"x-dummy%d" % number, b"x" * 4000) for number in range(5)])),),
        breaks(FRAME_SIZE),
    ),
    Case("http2/4.3/1", "broken field block", (head(b"\x40"),), breaks(COMPRESSION)),
    Case("http2/4.3/2", "PRIORITY within a field block", (head(flags=0), priority(), more()), breaks(PROTOCOL)),
    Case("http2/4.3/3", "HEADERS within a field block", (head(flags=0), head(stream=3), more()), breaks(PROTOCOL)),
)  # fmt: skip

_STREAMS: Final = (
    Case("http2/5.1/1", "idle: DATA", (data(),), breaks(PROTOCOL)),
    Case("http2/5.1/2", "idle: RST_STREAM", (reset(),), breaks(PROTOCOL)),
    Case("http2/5.1/3", "idle: WINDOW_UPDATE", (window(100, 1),), breaks(PROTOCOL)),
    Case("http2/5.1/4", "idle: CONTINUATION", (more(GET),), breaks(PROTOCOL)),
    Case("http2/5.1/5", "half-closed: DATA", (head(), data()), refuses(STREAM_CLOSED)),
    Case("http2/5.1/6", "half-closed: HEADERS", (head(), head()), refuses(STREAM_CLOSED)),
    Case("http2/5.1/7", "half-closed: CONTINUATION", (head(), more(GET)), refuses(STREAM_CLOSED, PROTOCOL)),
    Case("http2/5.1/8", "closed by RST_STREAM: DATA", (_OPEN, reset(), data()), refuses(STREAM_CLOSED)),
    Case("http2/5.1/9", "closed by RST_STREAM: HEADERS", (_OPEN, reset(), head()), refuses(STREAM_CLOSED)),
    Case(
        "http2/5.1/10",
        "closed by RST_STREAM: CONTINUATION",
        (_OPEN, reset(), more()),
        refuses(STREAM_CLOSED, PROTOCOL),
    ),
    Case("http2/5.1/11", "closed: DATA", (head(), ANSWERS, data()), refuses(STREAM_CLOSED)),
    Case("http2/5.1/12", "closed: HEADERS", (head(), ANSWERS, head()), breaks(STREAM_CLOSED)),
    Case("http2/5.1/13", "closed: CONTINUATION", (head(), ANSWERS, more()), breaks(STREAM_CLOSED, PROTOCOL)),
    Case("http2/5.1.1/1", "even stream identifier", (head(stream=2),), breaks(PROTOCOL)),
    Case("http2/5.1.1/2", "lower stream identifier", (head(stream=5), head(stream=3)), breaks(PROTOCOL)),
    Case(
        "http2/5.1.2/1",
        "more streams than allowed",
        (settings((4, 0)), *(head(stream=number) for number in range(1, 203, 2))),
        refuses(PROTOCOL, REFUSED, stream=201),
    ),
    Case(
        "http2/5.3.1/1",
        "HEADERS that depend on themselves",
        (head(b"\0\0\0\1\xff" + GET, flags=ENDS | WHOLE | PRIORITIZED),),
        refuses(PROTOCOL),
    ),
    Case("http2/5.3.1/2", "PRIORITY that depends on itself", (priority(on=1),), refuses(PROTOCOL)),
    Case("http2/5.4.1/1", "broken PING: the connection ends", (_MISPLACED_PING,), closes),
    Case("http2/5.4.1/2", "broken PING: GOAWAY", (_MISPLACED_PING,), breaks(PROTOCOL)),
    Case("http2/5.5/1", "unknown extension frame", (_UNKNOWN, ping()), pongs()),
    Case("http2/5.5/2", "unknown extension frame within a field block", (_UNFINISHED, _UNKNOWN), breaks(PROTOCOL)),
)  # fmt: skip

_REQUESTS: Final = (
    Case("http2/6.1/1", "DATA of stream 0", (data(stream=0),), breaks(PROTOCOL)),
    Case("http2/6.1/2", "DATA of a half-closed stream", (head(POST), data()), refuses(STREAM_CLOSED)),
    Case(
        "http2/6.1/3",
        "DATA with too much padding",
        (head(POST + block([(b"content-length", b"4")]), flags=WHOLE), data(b"\6Test", flags=ENDS | PADDED)),
        breaks(PROTOCOL),
    ),
    Case("http2/6.2/1", "HEADERS unfinished, then PRIORITY", (head(flags=0), priority(), more()), breaks(PROTOCOL)),
    Case("http2/6.2/2", "HEADERS unfinished, then others", (head(flags=0), head(stream=3), more()), breaks(PROTOCOL)),
    Case("http2/6.2/3", "HEADERS of stream 0", (head(stream=0),), breaks(PROTOCOL)),
    Case(
        "http2/6.2/4",
        "HEADERS with too much padding",
        (head(bytes((len(GET) + 2,)) + GET, flags=ENDS | WHOLE | PADDED),),
        refuses(PROTOCOL),
    ),
    Case("http2/6.3/1", "PRIORITY of stream 0", (priority(0),), breaks(PROTOCOL)),
    Case("http2/6.3/2", "PRIORITY of 4 bytes", (head(), frame(2, 0, 1, b"\x80\0\0\1")), refuses(FRAME_SIZE)),
    Case("http2/6.4/1", "RST_STREAM of stream 0", (reset(0),), breaks(PROTOCOL)),
    Case("http2/6.4/2", "RST_STREAM of an idle stream", (reset(),), breaks(PROTOCOL)),
    Case("http2/6.4/3", "RST_STREAM of 3 bytes", (head(), frame(3, 0, 1, bytes(3))), refuses(FRAME_SIZE)),
)  # fmt: skip

_SETTINGS: Final = (
    Case("http2/6.5/1", "SETTINGS with ACK and content", (frame(SETTINGS, ACK, 0, b"\0"),), breaks(FRAME_SIZE)),
    Case("http2/6.5/2", "SETTINGS of a stream", (frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64"),), breaks(PROTOCOL)),
    Case("http2/6.5/3", "SETTINGS of 9 bytes", (frame(SETTINGS, 0, 0, bytes(9)),), breaks(PROTOCOL, FRAME_SIZE)),
    Case("http2/6.5.2/1", "SETTINGS_ENABLE_PUSH of 2", (settings((2, 2)),), breaks(PROTOCOL)),
    Case("http2/6.5.2/2", "SETTINGS_INITIAL_WINDOW_SIZE 2^31", (settings((4, LARGE_SETTING)),), breaks(FLOW_CONTROL)),
    Case("http2/6.5.2/3", "SETTINGS_MAX_FRAME_SIZE of 16383", (settings((5, 16383)),), breaks(PROTOCOL)),
    Case("http2/6.5.2/4", "SETTINGS_MAX_FRAME_SIZE of 2^24", (settings((5, 1 << 24)),), breaks(PROTOCOL)),
    Case("http2/6.5.2/5", "unknown setting", (settings((0xFF, 1)), ping()), pongs()),
    Case("http2/6.5.3/1", "a setting twice: the last counts", (settings((4, 100), (4, 1)), head()), sends(1)),
    Case("http2/6.5.3/2", "SETTINGS are acknowledged", (settings((2, 0)),), acknowledges),
)  # fmt: skip

_OTHERS: Final = (
    Case("http2/6.7/1", "PING", (ping(),), pongs()),
    Case("http2/6.7/2", "PING with ACK", (ping(b"invalid\0", flags=ACK), ping()), pongs()),
    Case("http2/6.7/3", "PING of a stream", (ping(stream=1),), breaks(PROTOCOL)),
    Case("http2/6.7/4", "PING of 6 bytes", (frame(PING, 0, 0, bytes(6)),), breaks(FRAME_SIZE)),
    Case("http2/6.8/1", "GOAWAY of a stream", (goaway(stream=1),), breaks(PROTOCOL)),
    Case("http2/6.9/1", "WINDOW_UPDATE by 0", (window(0),), breaks(PROTOCOL)),
    Case("http2/6.9/2", "WINDOW_UPDATE by 0 of a stream", (_OPEN, window(0, 1)), refuses(PROTOCOL)),
    Case("http2/6.9/3", "WINDOW_UPDATE of 3 bytes", (frame(8, 0, 0, b"\0\0\1"),), breaks(FRAME_SIZE)),
    Case("http2/6.9.1/1", "a window of 1 is kept", (settings((4, 1)), head()), sends(1)),
    Case("http2/6.9.1/2", "window past 2^31-1", (window(OVER), window(OVER)), breaks(FLOW_CONTROL)),
    Case(
        "http2/6.9.1/3",
        "window of a stream past 2^31-1",
        (_OPEN, window(OVER, 1), window(OVER, 1)),
        resets(FLOW_CONTROL),
    ),
    Case("http2/6.9.2/1", "another initial window", (settings((4, 0)), head(), ANSWERS, settings((4, 1))), sends(1)),
    Case(
        "http2/6.9.2/2",
        "the initial window makes one negative",
        (settings((4, 3)), head(), ANSWERS, settings((4, 2)), window(2, 1)),
        sends(3, 1),
    ),
    Case("http2/6.9.2/3", "initial window of 2^31", (settings((4, LARGE_SETTING)),), breaks(FLOW_CONTROL)),
    Case("http2/6.10/1", "several CONTINUATION", (_UNFINISHED, more(flags=0), more()), answers),
    Case("http2/6.10/2", "CONTINUATION, then DATA", (_UNFINISHED_POST, more(flags=0), data()), breaks(PROTOCOL)),
    Case("http2/6.10/3", "CONTINUATION of stream 0", (_UNFINISHED, more(stream=0)), breaks(PROTOCOL)),
    Case("http2/6.10/4", "CONTINUATION after END_HEADERS", (head(), more()), breaks(PROTOCOL)),
    Case("http2/6.10/5", "CONTINUATION after the last one", (_UNFINISHED, more(), more()), breaks(PROTOCOL)),
    Case(
        "http2/6.10/6",
        "CONTINUATION after DATA",
        (_UNFINISHED_POST, data(), more(DUMMY, flags=0), more(stream=0)),
        breaks(PROTOCOL),
    ),
    Case("http2/7/1", "GOAWAY with an unknown code", (goaway(0xFF),), closes),
    Case("http2/7/2", "RST_STREAM with an unknown code", (_OPEN_POST, reset(1, 0xFF), ping()), pongs()),
)  # fmt: skip

FRAMES: Final = (*_CONNECTION, *_STREAMS, *_REQUESTS, *_SETTINGS, *_OTHERS)
