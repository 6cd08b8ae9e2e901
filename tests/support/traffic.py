"""Requests that never pause, and an oracle that knows which of them must pass.

Each credential is expected to pass, to be refused, or may do either for a moment (its key is being withdrawn and
nobody has told the sidecar yet). A request counts against its expectation only when that did not change under way.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from tests.support.pki import Identity
from tests.support.sidecar import Sidecar
from tests.support.tls_client import BrokenResponse, Wire

PAUSE = 0.02
"""Seconds between two requests of one stream."""


class Expected(Enum):
    PASS = "pass"
    REFUSED = "refused"
    EITHER = "either"


@dataclass(eq=False)
class Credential:
    """A token, or a maker of tokens, and the certificate it is presented with."""

    name: str
    token: str | Callable[[], str]
    identity: Identity
    expected: Expected

    def reveal(self) -> str:
        return self.token if isinstance(self.token, str) else self.token()


@dataclass
class Stream:
    """One client after another on connections that are kept: one request at a time."""

    sidecar: Sidecar
    credentials: list[Credential]
    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    busy: threading.Lock = field(default_factory=threading.Lock)
    wires: dict[Identity, Wire] = field(default_factory=dict)

    def run(self, ended: threading.Event) -> None:
        for turn in itertools.count():
            if ended.wait(PAUSE):
                break
            with self.busy:
                credentials = list(self.credentials)
                if credentials:
                    self.ask(credentials[turn % len(credentials)])
        self.hang_up()

    def ask(self, credential: Credential) -> None:
        before, started = credential.expected, time.monotonic()
        try:
            status = self.send(credential)
        except (OSError, BrokenResponse) as error:
            self.counts["broken"] += 1
            self.complaints.append(f"{credential.name}: {error!r}")
            self.hang_up()
            return
        self.counts["requests"] += 1
        self.counts[str(status)] += 1
        if before is not credential.expected or before is Expected.EITHER:
            self.counts["undetermined"] += 1
        elif (status == 200) != (before is Expected.PASS):
            kind = "wrongly permitted" if status == 200 else "wrongly refused"
            self.counts[kind] += 1
            took = time.monotonic() - started
            self.complaints.append(f"{kind}: {credential.name} ({status} after {took:.2f} s)")

    def send(self, credential: Credential) -> int:
        wire = self.wires.get(credential.identity)
        if wire is None:
            wire = self.wires[credential.identity] = self.sidecar.connect(credential.identity)
        response = wire.request("GET", "/accounts/1", token=credential.reveal())
        if response.header("Connection") == "close":
            self.wires.pop(credential.identity).close()
        return response.status

    def hang_up(self) -> None:
        for wire in self.wires.values():
            with suppress(OSError):
                wire.close()
        self.wires.clear()


class Traffic:
    """Several streams, each in its own thread."""

    def __init__(self, sidecar: Sidecar, streams: int) -> None:
        self.streams = [Stream(sidecar, []) for _ in range(streams)]
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=stream.run, args=(self._ended,), daemon=True) for stream in self.streams
        ]
        self._told: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(20)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No request is under way and no connection is open."""
        for stream in self.streams:
            stream.busy.acquire()
            stream.hang_up()
        try:
            yield
        finally:
            for stream in self.streams:
                stream.busy.release()

    @property
    def counts(self) -> Counter[str]:
        """Over all streams, since the start."""
        # Copies: their threads may count something for the first time while they are added up.
        return sum((stream.counts.copy() for stream in self.streams), Counter[str]())

    @property
    def complaints(self) -> Sequence[str]:
        return [line for stream in self.streams for line in stream.complaints]

    def phase(self, name: str) -> str:
        """One line about what happened since the last phase."""
        now = self.counts
        since = now - self._told
        self._told = now
        return (
            f"{name:<34} {since['requests']:>6} requests, {since['200']:>6} permitted, "
            f"{since['wrongly refused']} wrongly refused, {since['wrongly permitted']} wrongly permitted"
        )
