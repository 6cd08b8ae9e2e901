"""The loads: what the client does to every peer. Names are those of `build/bench.json`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.h2load import Streams
from bench.material import Material
from bench.peers import GRPC_MESSAGE, Peer
from bench.peers.policy import CALL
from bench.proofs import make_pool
from bench.world import Drive

MANY = 5_000  # different tokens
NEW_PER_SECOND = 12_000  # more than a peer verifies on one core; where tokens run out, the window ends early
IDLE = 10_000  # connections
RATE = 400  # requests a second at which added latency is measured: even the slowest peer keeps up
PROOFS_PER_SECOND = 12_000  # as NEW_PER_SECOND
PROOFS = 60_000  # of one key: the sidecar remembers 62,500 of each at once
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds of one measured window, its warm-up, and which round it is."""

    seconds: float
    warmup: float
    number: int = 0

    @property
    def length(self) -> float:
        return self.seconds + self.warmup


def _everyone(peer: Peer) -> bool:
    return not peer.over_http1


def _proving(peer: Peer) -> bool:
    return peer.proves


def _checking(peer: Peer) -> bool:
    return peer.checks and not peer.over_http1


def _introspecting(peer: Peer) -> bool:
    return peer.introspects


def _speaking_http2(peer: Peer) -> bool:
    return peer.http2


def _calling(peer: Peer) -> bool:
    return peer.http2 and not peer.over_http1


@dataclass(frozen=True, slots=True)
class Load:
    """One load: the client's work in a window, and which peers can be asked for it."""

    name: str
    what: str
    drive: Callable[[Material, Window, int], Drive]  # rounds: how many tokens will be needed in all
    takes: Callable[[Peer], bool] = _everyone
    opaque: bool = False
    dpop: bool = False  # with proofs (RFC 9449), made anew for each peer: they age
    resumes: bool = False
    primed: bool = False  # every token is shown once before the first round
    against_api: bool = False  # the API alone is driven too, as the baseline
    http2: bool = False
    grpc: bool = False


def _timed(tokens: Path, window: Window, **options: str | float) -> Drive:
    return Drive(tokens, {"seconds": window.seconds, "warmup": window.warmup, **options})


def es256_token(material: Material) -> Path:
    return material.tokens("es256", 1, material.es256)


def _cached_es256(material: Material, window: Window, _: int) -> Drive:
    return _timed(es256_token(material), window, connections=32)


def _cached_rs256(material: Material, window: Window, _: int) -> Drive:
    return _timed(material.tokens("rs256", 1, material.rs256), window, connections=32)


def _many_tokens(material: Material, window: Window, _: int) -> Drive:
    return _timed(material.tokens("many", MANY, material.es256), window, connections=32)


def _new_tokens(material: Material, window: Window, rounds: int) -> Drive:
    """Each round has its own slice, so that no token is ever seen twice by a peer."""
    each = int(NEW_PER_SECOND * window.length)
    tokens = material.tokens("new", each * rounds, material.es256)
    return _timed(tokens, window, connections=32, once=1, first=window.number * each, limit=each)


def _handshake(reuse: str) -> Callable[[Material, Window, int], Drive]:
    def drive(material: Material, window: Window, _: int) -> Drive:
        return _timed(es256_token(material), window, connections=8, reuse=reuse)

    return drive


def _denied(material: Material, window: Window, _: int) -> Drive:
    drive = _timed(es256_token(material), window, connections=32, expect=401)
    return Drive(drive.tokens, drive.options, other_certificate=True)


def _download(material: Material, window: Window, _: int) -> Drive:
    return _timed(es256_token(material), window, connections=8, path="/files/1MiB")


def _upload(material: Material, window: Window, _: int) -> Drive:
    return _timed(es256_token(material), window, connections=8, path="/upload", upload=_MIB)


def _latency(material: Material, window: Window, _: int) -> Drive:
    return _timed(es256_token(material), window, connections=16, rate=RATE)


def _introspection(material: Material, window: Window, rounds: int) -> Drive:
    """Opaque tokens, each new: every request asks the issuer, which takes 5 ms."""
    each = int(NEW_PER_SECOND * window.length)
    tokens = material.tokens("opaque", each * rounds, lambda number: f"opaque-{number:012x}")
    return _timed(tokens, window, connections=32, once=1, first=window.number * each, limit=each)


def _dpop_es256(material: Material, window: Window, _: int) -> Drive:
    count = max(1, min(PROOFS, int(PROOFS_PER_SECOND * window.length)))
    pool = make_pool(material, f"dpop-{window.number}", count)
    return _timed(pool.tokens, window, connections=32, proofs=str(pool.proofs))


def _streams(connections: int, each: int) -> Callable[[Material, Window, int], Drive]:
    def drive(material: Material, window: Window, _: int) -> Drive:
        return replace(_timed(es256_token(material), window), streams=Streams(connections, each))

    return drive


def _call(material: Material, window: Window, _: int) -> Drive:
    message = material.directory / "call.message"
    message.write_bytes(GRPC_MESSAGE)
    return replace(_timed(es256_token(material), window), streams=Streams(1, 32, CALL, message))


LOADS: dict[str, Load] = {
    load.name: load
    for load in (
        Load("cached-es256", "one ES256 token, keep-alive, 32 connections", _cached_es256),
        Load("cached-rs256", "one RS256 token, keep-alive, 32 connections", _cached_rs256),
        Load("many-tokens", "5,000 ES256 tokens in turn", _many_tokens, primed=True),
        Load("new-tokens", "every ES256 token new", _new_tokens),
        Load("handshake-full", "a new connection for each request", _handshake("full")),
        Load("handshake-resumed", "the same, sessions resumed", _handshake("resumed"), resumes=True),
        Load("denied", "a token bound to another certificate", _denied, takes=_checking),
        Load("download", "1 MiB bodies from the API", _download),
        Load("upload", "1 MiB bodies to the API", _upload),
        Load("latency", f"{RATE} requests a second", _latency, against_api=True),
        Load(
            "http2-1x32", "HTTP/2, a connection of 32 streams", _streams(1, 32), _speaking_http2, http2=True
        ),
        Load("http2-32x8", "HTTP/2, 32 connections of 8", _streams(32, 8), _speaking_http2, http2=True),
        Load("grpc-unary", "unary calls, a connection of 32", _call, _calling, http2=True, grpc=True),
        Load(
            "introspection",
            "opaque tokens, each new; issuer answers in 5 ms",
            _introspection,
            _introspecting,
            opaque=True,
        ),
        Load("dpop-es256", "one ES256 token, a new proof each time", _dpop_es256, _proving, dpop=True),
    )
}
