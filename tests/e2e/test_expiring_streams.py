"""A stream ends when the authority under which it began does: its token's or its certificate's."""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.real.upstreams import Upstream
from tests.support.mint import SigningKey, claims_set
from tests.support.pki import Identity, Pki, Profile, utc_now
from tests.support.processes import eventually
from tests.support.sidecar import Sidecar, issuer, policy
from tests.support.tls_client import Truncated, client_context

pytestmark = pytest.mark.real

SOON = (5, 20, 60)
"""Seconds until the authority ends: a machine that does not begin the stream in time is given more. A token's last
second may be cut short by rounding.
"""


@dataclass(frozen=True, slots=True)
class Presenter:
    """A client whose authority ends soon, and what the record then says."""

    identity: Identity
    token: str
    cause: str


class TooLate(Exception):
    """The authority had ended before the stream began."""


Present = Callable[[int], Presenter]
"""A client whose authority ends in so many seconds."""


@pytest.fixture(params=["token_expired", "certificate_expired"])
def present(request: pytest.FixtureRequest, pki: Pki, signing_key: SigningKey) -> Present:
    def presenter(seconds: int) -> Presenter:
        end = utc_now() + dt.timedelta(seconds=seconds)
        if request.param == "token_expired":
            token = signing_key.sign(claims_set(pki.client, exp=int(end.timestamp())))
            return Presenter(pki.client, token, request.param)
        identity = pki.client_authority.issue(Profile("short", not_after=end))
        return Presenter(identity, signing_key.token(identity), request.param)

    return presenter


def begun(stream: Callable[[Presenter], None], present: Present) -> Presenter:
    """Who presented what the first stream began with that began in time; it has ended."""
    for seconds in SOON:
        presenter = present(seconds)
        try:
            stream(presenter)
        except TooLate:
            continue
        return presenter
    raise AssertionError(f"no stream began within {SOON[-1]} s")


@pytest.fixture(scope="module")
def sidecars(
    tmp_path_factory: pytest.TempPathFactory,
    pki: Pki,
    signing_key: SigningKey,
    node_upstream: Upstream,
    websocket_upstream: Upstream,
) -> Iterator[dict[str, Sidecar]]:
    """One in front of Node, one in front of the WebSocket server; no clock skew is allowed for."""
    document = policy(issuers=[issuer(clock_skew="0s")])
    made = {
        upstream.name: Sidecar(
            tmp_path_factory.mktemp(upstream.name),
            pki,
            upstream.url,
            policy_document=document,
            keys=[signing_key],
        )
        for upstream in (node_upstream, websocket_upstream)
    }
    with made["node"], made["websockets"]:
        yield made


def ended_by(sidecar: Sidecar) -> set[str]:
    return {str(record.get("ended_by")) for record in sidecar.access_log()}


def test_websocket_gets_a_close_frame_with_the_reason(
    sidecars: dict[str, Sidecar], pki: Pki, present: Present
) -> None:
    sidecar = sidecars["websockets"]
    address = f"wss://localhost:{sidecar.port}/echo"

    async def converse(presenter: Presenter) -> ConnectionClosedError:
        context = client_context(presenter.identity, pki.server_authority.certificate)
        headers = {"Authorization": f"Bearer {presenter.token}"}
        try:
            async with connect(
                address, ssl=context, additional_headers=headers, proxy=None, open_timeout=60
            ) as connection:
                await connection.send("hello")
                assert await connection.recv() == "hello"
                with pytest.raises(ConnectionClosedError) as closed:
                    await connection.recv()
                return closed.value
        except (InvalidStatus, ConnectionClosedError):
            raise TooLate from None

    def stream(presenter: Presenter) -> None:
        closed = asyncio.run(converse(presenter))
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1008
        assert closed.rcvd.reason

    presenter = begun(stream, present)
    eventually(lambda: presenter.cause in ended_by(sidecar))


def test_event_stream_is_cut_so_that_the_client_sees_it(
    sidecars: dict[str, Sidecar], present: Present
) -> None:
    sidecar = sidecars["node"]

    def stream(presenter: Presenter) -> None:
        with sidecar.connect(presenter.identity) as wire:
            try:
                answer = wire.request(target="/accounts/1?gated", token=presenter.token)
            except (Truncated, ConnectionResetError):
                return
        assert answer.status == 401
        raise TooLate

    presenter = begun(stream, present)
    eventually(lambda: presenter.cause in ended_by(sidecar))
