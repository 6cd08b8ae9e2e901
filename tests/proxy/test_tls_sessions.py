"""Resumed sessions on real sockets: the same certificate, never under other settings, never for ever."""

import datetime as dt
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import AtHandshake, Trust
from sidecar.proxy.tls import ServerTls
from tests.support.live_server import LiveServer, digest, tls_settings
from tests.support.pki import Pki, Profile, utc_now
from tests.support.tls_client import Truncated, Wire, versioned
from tests.support.tls_pair import Pair

IN_ORDER = pytest.mark.parametrize("version", ["1.2", "1.3"])


@pytest.fixture
def open_server(tmp_path: Path, pki: Pki) -> Iterator[LiveServer]:
    with LiveServer(tls_settings(tmp_path, pki)) as server:
        yield server


def resumes(
    server: LiveServer, client: ssl.SSLContext, session: ssl.SSLSession | None, index: int = 0
) -> tuple[bool, ssl.SSLSession | None]:
    """One request on a connection that offers `session`: whether it was resumed, and the session to offer next."""
    server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    with Wire.tls(server.port(index), context=client, session=session) as wire:
        assert wire.request().status == 401
        return bool(wire.secure.session_reused), wire.session


@IN_ORDER
def test_resumed_session_carries_the_same_certificate(
    open_server: LiveServer, pki: Pki, version: str
) -> None:
    client = versioned(pki.client, version)
    _, session = resumes(open_server, client, None)
    resumed, _ = resumes(open_server, client, session)
    assert resumed
    assert open_server.thumbprints() == [digest(pki.client)] * 2
    assert [result for result, _ in open_server.observed.handshakes] == ["full", "resumed"]


@IN_ORDER
def test_session_without_certificate_resumes_without_certificate(
    open_server: LiveServer, version: str
) -> None:
    client = versioned(None, version)
    _, session = resumes(open_server, client, None)
    assert resumes(open_server, client, session)[0]
    assert open_server.thumbprints() == [None, None]


@IN_ORDER
def test_session_never_crosses_listeners(tmp_path: Path, pki: Pki, version: str) -> None:
    same = tls_settings(tmp_path, pki)
    required = tls_settings(tmp_path, pki, at_handshake=AtHandshake.REQUIRED)
    with LiveServer(same, same, required) as server:
        client = versioned(pki.client, version)
        _, session = resumes(server, client, None)
        assert resumes(server, client, session)[0]
        assert not resumes(server, client, session, 1)[0]
        assert not resumes(server, client, session, 2)[0]


@IN_ORDER
def test_session_never_crosses_a_reload(tmp_path: Path, pki: Pki, version: str) -> None:
    with LiveServer(tls_settings(tmp_path, pki)) as server:
        client = versioned(pki.client, version)
        _, session = resumes(server, client, None)
        server.reload(tls_settings(tmp_path, pki, trust=Trust.CA))
        assert not resumes(server, client, session)[0]
        assert server.thumbprints() == [digest(pki.client)] * 2


@IN_ORDER
def test_session_made_without_certificate_does_not_open_a_listener_that_wants_one(
    tmp_path: Path, pki: Pki, version: str
) -> None:
    with LiveServer(tls_settings(tmp_path, pki)) as server:
        client = versioned(None, version)
        _, session = resumes(server, client, None)
        server.reload(tls_settings(tmp_path, pki, at_handshake=AtHandshake.REQUIRED))
        with pytest.raises(ssl.SSLError):
            resumes(server, client, session)


@IN_ORDER
def test_session_does_not_outlive_its_certificate(tmp_path: Path, pki: Pki, version: str) -> None:
    soon = pki.client_authority.issue(Profile(not_after=utc_now() + dt.timedelta(minutes=10)))
    with LiveServer(tls_settings(tmp_path, pki, trust=Trust.CA)) as server:
        client = versioned(soon, version)
        _, session = resumes(server, client, None)
        server.wall_offset = 601
        with pytest.raises((Truncated, OSError)):
            resumes(server, client, session)
        assert server.handshakes(2)[-1][0] == "certificate_expired"


@IN_ORDER
def test_session_ends_with_its_lifetime(tmp_path: Path, pki: Pki, version: str) -> None:
    with LiveServer(tls_settings(tmp_path, pki, session_lifetime=1.0)) as server:
        client = versioned(pki.client, version)
        _, session = resumes(server, client, None)
        time.sleep(2.1)
        assert not resumes(server, client, session)[0]


class Ticker:
    """A clock that stands still between two tests of it."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("lifetime", [64, 3600, 86400])
def test_resumed_session_gets_tickets_in_the_first_half_of_its_lifetime_only(
    tmp_path: Path, pki: Pki, lifetime: int
) -> None:
    """However often a client comes back, no ticket outlives `session_lifetime` of the full handshake."""
    clock = Ticker()
    tls = ServerTls(tls_settings(tmp_path, pki, session_lifetime=float(lifetime)), "main", clock)
    pair = shaken(tls, None)
    assert not pair.engine.is_resumed()
    # Whoever comes back soon is resumed, and so is who comes back with what was given then.
    for part in (0.0, 0.1, 0.3):
        clock.now = 1_000_000_000.0 + part * lifetime
        pair = shaken(tls, pair)
        assert pair.engine.is_resumed()
    clock.now = 1_000_000_000.0 + 0.6 * lifetime
    last = shaken(tls, pair)
    assert last.engine.is_resumed()  # OpenSSL's own clock has not moved: the ticket that it had is good
    assert not shaken(tls, last).engine.is_resumed()


def shaken(tls: ServerTls, resumes: Pair | None) -> Pair:
    """A TLS 1.3 handshake that offers the session of another, and the tickets after it."""
    pair = Pair(tls, resumes=resumes)
    pair.shake_hands()
    assert pair.engine.established
    pair.heard()
    return pair
