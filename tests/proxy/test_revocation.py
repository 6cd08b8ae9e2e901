"""Revocation (RFC 5280 §6.3): every certificate of a chain, each list past its end, DER as well as PEM, and connections
that were open when a list came.
"""

import datetime as dt
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.decision.denial import Reason
from sidecar.proxy.configuration import CrlRequired, Timeouts, TlsSettings, Trust
from sidecar.proxy.tls import ServerTls
from tests.support.live_server import LiveServer, tls_settings
from tests.support.pki import HOUR, Authority, Identity, Pki, certificate_der, certificate_pem, utc_now
from tests.support.processes import eventually
from tests.support.tls_client import TLS12, TLS13, BrokenResponse, Wire, client_context

pytestmark = pytest.mark.field_cases

SOON = dt.timedelta(seconds=12)
"""In which clients come and are answered, also on a busy machine."""
VERSIONS = [pytest.param(TLS12, id="TLS 1.2"), pytest.param(TLS13, id="TLS 1.3")]


class World:
    """A root, an authority below it, one below that, and a client of the last."""

    def __init__(self) -> None:
        self.root = Authority.root("root")
        self.policy = _below(self.root, "policy")
        self.issuing = _below(self.policy, "issuing")
        self.client = self.issuing.issue()
        self.direct = self.root.issue()

    def lists(self, **revoked: Identity | None) -> bytes:
        """A list of each authority that is named, with what it revoked."""
        return b"".join(
            getattr(self, name).revocation_list(*([one] if one is not None else []))
            for name, one in revoked.items()
        )

    def settings(self, folder: Path, pki: Pki, crl: bytes | None, **changes: object) -> TlsSettings:
        given = tls_settings(folder, pki, trust=Trust.CA, **changes)
        assert given.ca_file is not None
        given.ca_file.write_bytes(certificate_pem(self.root.certificate))
        if crl is None:
            return given
        (folder / "clients.crl").write_bytes(crl)
        return replace(given, crl_file=folder / "clients.crl")


def _below(authority: Authority, name: str) -> Authority:
    made = authority.intermediate(name)
    return Authority(made.certificate, made.key, (made.certificate, *authority.chain))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def asks(server: LiveServer, identity: Identity, version: ssl.TLSVersion = TLS13) -> int:
    server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
    context = client_context(identity, minimum=version, maximum=version)
    with Wire.tls(server.port(), context=context) as wire:
        return wire.request().status


def refusal(server: LiveServer, identity: Identity, version: ssl.TLSVersion = TLS13) -> str:
    """What the log says of a client that must not get in."""
    before = len(server.observed.handshakes)
    with pytest.raises((ssl.SSLError, OSError, BrokenResponse)):
        asks(server, identity, version)
    result, reason = server.handshakes(before + 1)[-1]
    assert result == "certificate_refused"
    return reason


Lists = Callable[[World], bytes]
ACCEPTED: Mapping[str, Lists] = {
    "lists of all": lambda w: w.lists(root=None, policy=None, issuing=None),
    "no list of the root": lambda w: w.lists(policy=None, issuing=None),
    "only a list of the client's issuer": lambda w: w.lists(issuing=None),
    "another is revoked": lambda w: w.lists(root=None, policy=None, issuing=w.direct),
}
REFUSED: Mapping[str, tuple[Lists, str]] = {
    "the client is revoked": (
        lambda w: w.lists(root=None, policy=None, issuing=w.client),
        "certificate revoked",
    ),
    "its issuer is revoked": (
        lambda w: w.lists(root=None, policy=w.issuing, issuing=None),
        "certificate revoked",
    ),
    "an authority below the root is revoked": (
        lambda w: w.lists(root=w.policy, policy=None, issuing=None),
        "certificate revoked",
    ),
    "no list of its issuer": (lambda w: w.lists(root=None, policy=None), "unable to get certificate CRL"),
    "the list of its issuer has ended": (
        lambda w: w.lists(root=None, policy=None) + w.issuing.revocation_list(not_after=utc_now() - HOUR),
        "CRL has expired",
    ),
    "a list above its issuer has ended": (
        lambda w: w.lists(policy=None, issuing=None) + w.root.revocation_list(not_after=utc_now() - HOUR),
        "CRL has expired",
    ),
}
CHAIN_REFUSES: Mapping[str, Lists] = {
    "no list of the root": ACCEPTED["no list of the root"],
    "only a list of the client's issuer": ACCEPTED["only a list of the client's issuer"],
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ACCEPTED)
def test_chain_in_which_nothing_is_revoked_is_accepted(
    tmp_path: Path, pki: Pki, world: World, kind: str, version: ssl.TLSVersion
) -> None:
    settings = world.settings(tmp_path, pki, ACCEPTED[kind](world))
    with LiveServer(settings) as server:
        assert asks(server, world.client, version) == 401
        counted = [name for name, _ in server.observed.incidents].count("crl_missing")
    assert counted == (0 if kind in {"lists of all", "another is revoked"} else 1)
    assert ServerTls(settings, "main").accepts([each.public_bytes(Encoding.DER) for each in chain(world)])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", REFUSED)
def test_chain_with_a_revoked_certificate_or_without_a_list_that_counts_is_refused(
    tmp_path: Path, pki: Pki, world: World, kind: str, version: ssl.TLSVersion
) -> None:
    lists, reason = REFUSED[kind]
    settings = world.settings(tmp_path, pki, lists(world))
    with LiveServer(settings) as server:
        assert refusal(server, world.client, version) == reason
    assert not ServerTls(settings, "main").accepts([certificate_der(each) for each in chain(world)])


@pytest.mark.parametrize("kind", [*ACCEPTED, *REFUSED])
def test_every_list_may_be_required(tmp_path: Path, pki: Pki, world: World, kind: str) -> None:
    lists = ACCEPTED[kind] if kind in ACCEPTED else REFUSED[kind][0]
    settings = world.settings(tmp_path, pki, lists(world), crl_required_for=CrlRequired.CHAIN)
    is_good = kind in ACCEPTED and kind not in CHAIN_REFUSES
    with LiveServer(settings) as server:
        if is_good:
            assert asks(server, world.client) == 401
        else:
            assert refusal(server, world.client)
    assert ServerTls(settings, "main").accepts([certificate_der(each) for each in chain(world)]) is is_good


def chain(world: World) -> tuple[x509.Certificate, ...]:
    return (world.client.certificate, *world.client.chain)


def test_list_in_der_is_read_as_one_in_pem(tmp_path: Path, pki: Pki, world: World) -> None:
    der = x509.load_pem_x509_crl(world.root.revocation_list(world.direct)).public_bytes(Encoding.DER)
    with LiveServer(world.settings(tmp_path, pki, der)) as server:
        assert refusal(server, world.direct) == "certificate revoked"
        assert asks(server, world.root.issue()) == 401


@pytest.mark.parametrize("cut", [40, -20], ids=["second list without an end", "second list broken off"])
def test_list_that_is_broken_is_refused_beside_a_good_one(
    tmp_path: Path, pki: Pki, world: World, cut: int
) -> None:
    first = world.root.revocation_list()
    with pytest.raises(ValueError):
        ServerTls(world.settings(tmp_path, pki, first + first[:cut]), "main")


# --- connections that are open


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("revoked", ["client", "issuing", "policy"])
def test_open_connection_of_a_client_revoked_meanwhile_ends(
    tmp_path: Path, pki: Pki, world: World, revoked: str, version: ssl.TLSVersion
) -> None:
    by = {"client": "issuing", "issuing": "policy", "policy": "root"}[revoked]
    nobody: dict[str, Identity | None] = {"root": None, "policy": None, "issuing": None}
    old = world.settings(tmp_path / "old", pki, world.lists(**nobody))
    new = world.settings(tmp_path / "new", pki, world.lists(**{**nobody, by: getattr(world, revoked)}))
    with LiveServer(old) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        contexts = [
            client_context(each, minimum=version, maximum=version)
            for each in (world.client, world.direct, None)
        ]
        wires = [Wire.tls(server.port(), context=each) for each in contexts]
        assert [wire.request().status for wire in wires] == [401] * 3
        server.reload(new)
        assert wires[0].is_closed_by_peer()
        assert [wire.request().status for wire in wires[1:]] == [401] * 2
        for wire in wires:
            wire.close()


def test_handshake_that_began_before_the_list_came_is_judged_by_it(
    tmp_path: Path, pki: Pki, world: World
) -> None:
    old = world.settings(tmp_path / "old", pki, world.lists(root=None))
    new = world.settings(tmp_path / "new", pki, world.lists(root=world.direct))
    with LiveServer(old) as server, Wire.plain(server.port()) as wire:
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(world.direct).wrap_bio(into, out, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        wire.send(out.read())
        hello = wire.read_some()
        server.reload(new)
        into.write(hello)
        client.do_handshake()
        wire.send(out.read())
        wire.read_to_end()
        assert server.handshakes(1)[-1] == ("certificate_refused", "no longer accepted")


def test_connection_survives_a_reload_that_changes_no_trust_where_nobody_asks_to_close(
    tmp_path: Path, pki: Pki, world: World
) -> None:
    old = world.settings(tmp_path / "old", pki, world.lists(root=None), close_on_ca_change=False)
    new = world.settings(tmp_path / "new", pki, world.lists(root=world.direct), close_on_ca_change=False)
    with LiveServer(old) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        with Wire.tls(server.port(), context=client_context(world.direct)) as wire:
            assert wire.request().status == 401
            server.reload(new)
            assert wire.request().status == 401
        assert refusal(server, world.direct) == "certificate revoked"


def test_many_connections_are_all_judged(tmp_path: Path, pki: Pki, world: World) -> None:
    old = world.settings(tmp_path / "old", pki, world.lists(root=None))
    new = world.settings(tmp_path / "new", pki, world.lists(root=world.direct))
    with LiveServer(old) as server:
        context = client_context(world.direct)
        wires = [Wire.tls(server.port(), context=context) for _ in range(40)]
        server.handshakes(40)
        server.reload(new)
        eventually(lambda: server.server.connections == 0, what="nobody left")
        assert all(wire.is_closed_by_peer() for wire in wires)
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("closes", [True, False])
def test_open_connection_ends_when_the_list_that_spoke_of_it_ends(
    tmp_path: Path, pki: Pki, world: World, closes: bool
) -> None:
    """RFC 5280 §6.3.3: without a list that is current there is no telling whether the certificate is revoked."""
    end = utc_now() + SOON
    soon = world.issuing.revocation_list(not_after=end)
    settings = world.settings(tmp_path, pki, soon + world.lists(root=None, policy=None))
    with LiveServer(replace(settings, close_on_ca_change=closes)) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        spoken_of, other = Wire.tls(server.port(), world.client), Wire.tls(server.port(), world.direct)
        assert [wire.request().status for wire in (spoken_of, other)] == [401] * 2
        sleep_until(end)
        eventually(lambda: refused(server, world.client), what="the end of the list")
        if closes:
            eventually(spoken_of.is_closed_by_peer, what="the end of its connection")
        else:
            assert spoken_of.request().status == 401
        assert other.request().status == 401
        for wire in (spoken_of, other):
            wire.close()


def sleep_until(end: dt.datetime) -> None:
    """Until a second before."""
    time.sleep(max(0.0, (end - utc_now()).total_seconds() - 1))


def refused(server: LiveServer, identity: Identity) -> bool:
    """Whether a new connection of this client is refused by now."""
    try:
        return asks(server, identity) != 401
    except (ssl.SSLError, OSError, BrokenResponse):
        return True


# --- the age of a connection


def test_connection_that_is_old_takes_one_more_request_or_none(tmp_path: Path, pki: Pki) -> None:
    with LiveServer(tls_settings(tmp_path, pki), timeouts=Timeouts(connection_age=3.0)) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        with Wire.tls(server.port()) as busy, Wire.tls(server.port()) as idle:
            told = None
            while told is None:
                answer = busy.request()
                assert answer.status == 401
                told = answer.header("connection")
            assert told == "close"
            assert idle.is_closed_by_peer()


# --- resumption


def test_list_that_ends_makes_resumed_clients_show_their_certificate_again(
    tmp_path: Path, pki: Pki, world: World
) -> None:
    end = utc_now() + SOON
    with LiveServer(world.settings(tmp_path, pki, world.root.revocation_list(not_after=end))) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        context = client_context(world.direct)
        with Wire.tls(server.port(), context=context) as first:
            assert first.request().status == 401
            session = first.session

        def is_refused() -> bool:
            try:
                with Wire.tls(server.port(), context=context, session=session) as wire:
                    return wire.request().status != 401
            except (ssl.SSLError, OSError, BrokenResponse):
                return True

        sleep_until(end)
        eventually(is_refused, what="the end of the list")
        ended = ("certificate_refused", "CRL has expired")
        eventually(lambda: server.observed.handshakes[-1] == ended, what="the record of it")


def test_chain_of_tickets_ends_with_the_lifetime_of_the_full_handshake(tmp_path: Path, pki: Pki) -> None:
    with LiveServer(tls_settings(tmp_path, pki, session_lifetime=SOON.total_seconds())) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        context = client_context(pki.client, minimum=TLS13)
        sessions: list[ssl.SSLSession | None] = [None]

        def is_full() -> bool:
            with Wire.tls(server.port(), context=context, session=sessions[-1]) as wire:
                assert wire.request().status == 401
                sessions.append(wire.session)
                return not wire.secure.session_reused

        assert is_full()
        assert not is_full()
        eventually(is_full, what="a full handshake")
