"""What one proxy made of one odd request, in one line.

`200 GET /x` — answered 200; the upstream saw that one request, and the plain request after it went through too.
`400 close` — refused; nothing reached the upstream, the connection was closed.
`wait` — the proxy waits for more bytes. Bodies and fields worth a word follow the target.
"""

import socket

from tests.differential.corpus import END
from tests.support.recorder import Recorder, Seen
from tests.support.tls_client import BrokenResponse, Truncated, Wire

PATIENCE = 60.0
"""Seconds without a byte after which a proxy is said to wait, which no table expects: also on a busy machine."""
WORTH_A_WORD = ("X-A", "X_A", "X-B", "X-T", "Expect", "TE", "Upgrade", "Authorization", "Host")


def describe(seen: Seen) -> str:
    """Method, target, then the body and those fields that the corpus is about."""
    parts = [seen.method, seen.target if len(seen.target) < 100 else f"({len(seen.target)} bytes)"]
    if seen.body:
        parts.append(repr(seen.body.decode("latin-1")))
    for name, value in (*seen.headers, *seen.trailers):
        known = name.title().replace("Te", "TE") if len(name) == 2 else name.title()
        if known in WORTH_A_WORD and (known, value) != ("Host", "api.example.com"):
            parts.append(f"{known}:{value if len(value) < 100 else len(value)}")
    return " ".join(parts)


def answers(wire: Wire) -> tuple[list[str], str]:
    """The statuses in order, and how it ended: `close`, `wait`, or `broken` (not HTTP/1.1 with a known length)."""
    statuses: list[str] = []
    wire.sock.settimeout(PATIENCE)
    try:
        while True:
            response = wire.response()
            statuses += [str(early.status) for early in response.informational]
            statuses.append(str(response.status))
    except (Truncated, ConnectionError):
        return statuses, "close"
    except TimeoutError:
        return statuses, "wait"
    except BrokenResponse:
        return statuses, "broken"


def outcome(wire: Wire, recorder: Recorder, request: bytes, piece: int = 1 << 20) -> str:
    """Sends the odd request and then a plain one, `piece` bytes at a time; one line (see above)."""
    recorder.clear()
    data = request + END
    with wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for start in range(0, len(data), piece):
                wire.send(data[start : start + piece])
        except OSError:  # ssl.SSLEOFError is no ConnectionError
            pass  # refused before it was all sent: the answer may be there all the same
        statuses, ending = answers(wire)
    seen = [describe(one) for one in recorder.seen]
    if seen and seen[-1] == "GET /end" and statuses and statuses[-1] == "200" and ending == "close":
        statuses, seen, ending = statuses[:-1], seen[:-1], ""
    broken = [f"upstream got {problem}" for problem in recorder.broken]
    return " ".join([*statuses, " + ".join([*seen, *broken]), ending]).replace("  ", " ").strip()


def first_status(wire: Wire, request: bytes) -> int:
    """The status of the first final answer to the odd request, once all was said; 0 without one."""
    with wire:
        try:
            wire.send(request + END)
        except OSError:
            pass  # as above
        statuses, _ = answers(wire)
    return next((int(status) for status in statuses if int(status) >= 200), 0)
