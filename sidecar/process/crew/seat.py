"""The seat of one worker: its process and the channel to it. A seat is kept when its process is replaced."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from typing import Any

from sidecar.decision.replay import ReplayMemory
from sidecar.process.crew.channel import AskingEnd, ChannelClosed
from sidecar.process.replay.claims_desk import ClaimsDesk
from sidecar.telemetry.metrics import Snapshot

_CHILD = "import sys; from sidecar.process.crew.member import main; main(*sys.argv[1:])"
ANSWER_WITHIN = 5.0
"""Time in which a worker must answer a small question, in seconds."""
END_WITHIN = 2.0
"""Time in which a worker must end after SIGTERM, in seconds."""


class Seat:
    """Starts, asks and ends the worker of this seat."""

    def __init__(self, number: int, memory: ReplayMemory) -> None:
        """`memory` has the used proofs of all workers."""
        self.number = number
        self._memory = memory
        self.process: subprocess.Popen[bytes] | None = None
        self.end: AskingEnd | None = None
        """None while this seat has no serving worker."""
        self.silent = 0
        """Number of consecutive looks without a message from the worker."""
        self.figures: Snapshot = {}
        """The last figures of this seat's worker."""

    @property
    def pid(self) -> int:
        """Process id of the worker, or 0."""
        return self.process.pid if self.process is not None and self.end is not None else 0

    @property
    def answers(self) -> bool:
        """Whether a worker serves here that can be expected to answer."""
        return self.end is not None and not self.silent

    async def begin(self) -> AskingEnd:
        """Start a process, which serves only when it is told to. Raises OSError when none can be started."""
        ours, theirs = socket.socketpair()
        desk, claims = socket.socketpair()
        with theirs, claims:
            passed = [theirs.fileno(), claims.fileno()]
            command = [sys.executable, "-P", "-c", _CHILD, *map(str, passed)]
            try:
                # A process group of its own: the terminal's signals are for the supervisor.
                self.process = subprocess.Popen(  # noqa: S603, ASYNC220 — fork and exec take a millisecond
                    command, stdin=subprocess.DEVNULL, pass_fds=passed, process_group=0
                )
            except BaseException:
                ours.close()
                desk.close()
                raise
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: ClaimsDesk(self._memory), sock=desk)
        return await AskingEnd.over(ours)

    def take(self, end: AskingEnd) -> None:
        """The worker behind this channel serves now."""
        self.end, self.silent = end, 0

    def left(self, end: AskingEnd) -> None:
        """The channel is closed: its worker no longer serves."""
        if self.end is end:
            self.end = None

    def clear(self) -> None:
        """Empty the seat."""
        self.figures, self.end, self.silent = {}, None, 0

    async def ask(self, method: str, argument: Any = None, within: float | None = None) -> Any:
        """Raises `ChannelClosed`, TimeoutError, RuntimeError."""
        if self.end is None:
            raise ChannelClosed("no worker")
        return await self.end.ask(method, argument, ANSWER_WITHIN if within is None else within)

    async def ended(self) -> int:
        """The exit code of the process, once it has one."""
        assert self.process is not None  # noqa: S101 — one was begun
        return await asyncio.to_thread(self.process.wait)

    def kill(self) -> None:
        """End the worker at once."""
        if self.process is not None:
            self.process.kill()

    async def finish(self) -> None:
        """End the worker: by a drain if it serves and is fast enough, otherwise at once."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM if self.end is not None else signal.SIGKILL)
        try:
            await asyncio.to_thread(self.process.wait, END_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            await self.ended()
