"""The wall clock of a running sidecar is set, forward and back: it decides by the new time, and goes on.

Python's wall clock alone is set: Linux keeps CLOCK_MONOTONIC from whoever sets the time (clock_gettime(2)). libfaketime
would not do: under it, every `time.sleep` fails with EINVAL, as it takes the moment on CLOCK_MONOTONIC for one of the
time that it fakes.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.world import events, fast, figures, generation
from tests.support.mint import SigningKey
from tests.support.pki import Identity, Pki
from tests.support.processes import answers_ok, eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, policy

LIFETIME, SKEW = 300, 30
"""Seconds: of the tokens that `mint` makes, and that an issuer's clock may differ."""

_PROGRAM = """
import sys, time
real, setting = time.time, {setting!r}
def wall():
    with open(setting) as file:
        return real() + int(file.read())
time.time = wall
from sidecar.__main__ import main
sys.exit(main())
"""
"""The sidecar, by a clock that is ahead of the real one by what a file says."""


class SetClock:
    """A sidecar whose wall clock the test sets."""

    def __init__(self, one: Sidecar, token: str, client: Identity) -> None:
        self.one, self._token, self._client = one, token, client
        self._sent = 0
        self._setting = one.folder / "clock"
        self.set(0)
        program = one.folder / "program.py"
        program.write_text(_PROGRAM.format(setting=str(self._setting)))
        one.program = [str(program)]

    def set(self, ahead: int) -> None:
        """So many seconds ahead of the real time."""
        fresh = self._setting.with_suffix(".new")
        fresh.write_text(f"{ahead:+d}\n")
        fresh.rename(self._setting)

    def status(self) -> int:
        """The status of a request on a new connection."""
        self._sent += 1
        with self.one.connect(self._client) as wire:
            return wire.request("GET", "/x", headers={"Authorization": f"Bearer {self._token}"}).status

    def reason(self) -> str:
        """Why the last request was refused, from its audit record."""
        assert self.status() == 401
        # The record of an earlier request may come late, too: there must be one for each.
        eventually(lambda: len(self.one.access_log()) == self._sent, what="an audit record of each request")
        return str(self.one.access_log()[-1]["reason"])

    def reloads(self) -> None:
        """A change of policy is noticed and taken."""
        before = generation(self.one)
        self.one.write_policy(policy(rules=[{"name": f"rest-{before}", "match": {"path": "/**"}}]))
        eventually(lambda: generation(self.one) > before, what="reload")


@pytest.fixture
def clock(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> Iterator[SetClock]:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=fast(None))
        clock = SetClock(one, signing_key.token(pki.client), pki.client)
        with one:
            yield clock


def test_sidecar_goes_on_when_its_wall_clock_is_set_forward_and_back(clock: SetClock) -> None:
    one = clock.one
    assert clock.status() == 200
    clock.set(LIFETIME + 2 * SKEW)
    assert clock.reason() == "token_expired"
    clock.reloads()
    assert clock.reason() == "token_expired"
    clock.set(-1800)
    assert clock.reason() == "token_not_yet_valid"
    clock.reloads()
    clock.set(0)
    assert clock.status() == 200
    clock.reloads()
    assert answers_ok(f"{one.health_url}/readyz")
    assert ("sidecar_configuration_reload_total", "failure") not in figures(one)
    assert events(one, "incident") == []
    assert one.stop() == 0
    assert [record["status"] for record in one.access_log()] == [200, 401, 401, 401, 200]
    parts = ("duration", "decision_duration", "upstream_duration")
    assert all(0 <= record[part] < LIFETIME for record in one.access_log() for part in parts)
