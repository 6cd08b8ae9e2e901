"""h2spec's cases of what every server must take (part `generic`), and those of HPACK (part `hpack`)."""

from typing import Final

from tests.support.h2spec import (
    ANSWERS,
    CANCEL,
    COMPRESSION,
    ENDS,
    GET,
    NO,
    PADDED,
    POST,
    PRIORITIZED,
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
    reset,
    sends,
    settings,
    window,
    with_field,
)
from tests.support.http2_frames import PREFACE, block

_CLOSED: Final = settings((4, 0))
"""No content may be sent: the stream stays open for the client."""

_STREAMS: Final = (
    Case("generic/1/1", "client connection preface", (PREFACE + settings((4, 65535)),), prefaces, is_bare=True),
    Case("generic/2/1", "PRIORITY on an idle stream", (priority(), ping()), pongs()),
    Case("generic/2/2", "WINDOW_UPDATE on a half-closed stream", (_CLOSED, head(), ANSWERS, window(1, 1)), sends(1)),
    Case(
        "generic/2/3",
        "PRIORITY on a half-closed stream",
        (_CLOSED, head(), ANSWERS, priority(), window(1, 1)),
        sends(1),
    ),
    Case("generic/2/4", "RST_STREAM on a half-closed stream", (head(), reset(), ping()), pongs()),
    Case("generic/2/5", "PRIORITY on a closed stream", (head(), ANSWERS, priority(), ping()), pongs()),
)  # fmt: skip

_FRAMES: Final = (
    Case("generic/3.1/1", "DATA", (head(POST, flags=WHOLE), data()), answers),
    Case("generic/3.1/2", "several DATA", (head(POST, flags=WHOLE), data(flags=0), data()), answers),
    Case(
        "generic/3.1/3",
        "DATA with padding",
        (head(POST, flags=WHOLE), data(b"\6test" + bytes(6), flags=ENDS | PADDED)),
        answers,
    ),
    Case("generic/3.2/1", "HEADERS", (head(),), answers),
    Case(
        "generic/3.2/2",
        "HEADERS with padding",
        (head(b"\x08" + GET + bytes(8), flags=ENDS | WHOLE | PADDED),),
        answers,
    ),
    Case(
        "generic/3.2/3",
        "HEADERS with priority",
        (head(bytes(4) + b"\xff" + GET, flags=ENDS | WHOLE | PRIORITIZED),),
        answers,
    ),
    Case("generic/3.3/1", "PRIORITY with weight 1", (priority(weight=0), head()), answers),
    Case("generic/3.3/2", "PRIORITY with weight 256", (priority(weight=255), head()), answers),
    Case("generic/3.3/3", "PRIORITY with a dependency", (priority(3, on=1, weight=0), head()), answers),
    Case("generic/3.3/4", "PRIORITY, exclusive", (priority(on=0x8000_0000, weight=0), head()), answers),
    Case("generic/3.3/5", "PRIORITY for an idle stream, then HEADERS for a lower one", (priority(3), head()), answers),
    Case("generic/3.4/1", "RST_STREAM", (head(flags=WHOLE), reset(1, CANCEL), ping()), pongs()),
    Case(
        "generic/3.5/1",
        "SETTINGS",
        (settings((1, 4096), (2, 1), (3, 100), (4, 65535), (5, 16384), (6, 100)),),
        acknowledges,
    ),
    Case("generic/3.7/1", "PING", (ping(),), pongs()),
    Case("generic/3.8/1", "GOAWAY", (goaway(NO),), closes),
    Case("generic/3.9/1", "WINDOW_UPDATE of the connection", (window(1), ping()), pongs()),
    Case("generic/3.9/2", "WINDOW_UPDATE of a stream", (head(), window(1, 1)), answers),
    Case("generic/3.10/1", "CONTINUATION", (head(GET[:5], flags=ENDS), more(GET[5:])), answers),
    Case(
        "generic/3.10/2",
        "several CONTINUATION",
        (head(GET[:5], flags=ENDS), more(GET[5:10], flags=0), more(GET[10:])),
        answers,
    ),
)  # fmt: skip

_MESSAGES: Final = (
    Case("generic/4/1", "GET", (with_field(),), answers),
    Case("generic/4/2", "HEAD", (with_field(method="HEAD"),), answers),
    Case("generic/4/3", "POST", (head(POST, flags=WHOLE), data()), answers),
    Case(
        "generic/4/4",
        "POST with trailers",
        (
            head(POST + block([(b"trailer", b"x-test")]), flags=WHOLE),
            data(flags=0),
            head(block([(b"x-test", b"ok")])),
        ),
        answers,
    ),
)

_AGENT, _AGENT_HUFFMAN = b"\x0auser-agent\x06h2spec", b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4"
_TEST, _TEST_HUFFMAN = b"\x06x-test\x06h2spec", b"\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4"
_REPRESENTATIONS: Final = {
    "indexed": b"\xba",
    "incremental indexing, known name, Huffman": b"\x40" + _AGENT_HUFFMAN,
    "incremental indexing, known name": b"\x40" + _AGENT,
    "incremental indexing, new name": b"\x40" + _TEST,
    "incremental indexing, new name, Huffman": b"\x40" + _TEST_HUFFMAN,
    "without indexing, known name": b"\0" + _AGENT,
    "without indexing, known name, Huffman": b"\0" + _AGENT_HUFFMAN,
    "without indexing, new name": b"\0" + _TEST,
    "without indexing, new name, Huffman": b"\0" + _TEST_HUFFMAN,
    "never indexed, known name": b"\x10" + _AGENT,
    "never indexed, known name, Huffman": b"\x10" + _AGENT_HUFFMAN,
    "never indexed, new name": b"\x10" + _TEST,
    "never indexed, new name, Huffman": b"\x10" + _TEST_HUFFMAN,
}
_SIZES: Final = {"size update": b"\x20", "several size updates": b"\x20\x3f\xe1\x1f"}

_HPACK: Final = (
    *(
        Case(f"generic/5/{number}", title, (head(GET + representation),), answers)
        for number, (title, representation) in enumerate(_REPRESENTATIONS.items(), 1)
    ),
    *(
        Case(f"generic/5/{number}", title, (head(update + GET),), answers)
        for number, (title, update) in enumerate(_SIZES.items(), len(_REPRESENTATIONS) + 1)
    ),
)

_DECODING_ERRORS: Final = (
    ("hpack/2.3.3/1", "index that is too high", GET + b"\xc6"),
    ("hpack/2.3.3/2", "literal with an index that is too high", GET + b"\x7f\x07\0"),
    ("hpack/4.2/1", "size update at the end of a block", GET + b"\x21"),
    ("hpack/5.2/1", "Huffman padding of more than 7 bits", GET + b"\0\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
    ("hpack/5.2/2", "Huffman padding of zeros", GET + b"\0\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"),
    ("hpack/5.2/3", "Huffman string with EOS", GET + b"\0\x85\xf2\xb2\x4a\x84\xff\x87\xff\xff\xff\xfd\x25\x42\x7f"),
    ("hpack/6.1/1", "index 0", GET + b"\x80"),
    ("hpack/6.3/1", "size update past SETTINGS_HEADER_TABLE_SIZE", b"\x3f\xe2\x1f" + GET),
)  # fmt: skip

GENERIC: Final = (*_STREAMS, *_FRAMES, *_MESSAGES, *_HPACK)
HPACK: Final = tuple(
    Case(number, title, (head(fields),), breaks(COMPRESSION)) for number, title, fields in _DECODING_ERRORS
)
