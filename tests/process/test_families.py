"""Clusters of IPv4, of IPv6 and of both: the same settings serve each."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.process.world import fast, get
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, listener


@dataclass(frozen=True, slots=True)
class Listening:
    """An address as the settings have it, and who reaches it there."""

    address: str
    answering: tuple[str, ...]
    refusing: tuple[str, ...] = ()
    workers: int = 1


@pytest.mark.parametrize(
    "case",
    [
        Listening("*", ("127.0.0.1", "::1")),
        Listening("*", ("127.0.0.1", "::1"), workers=2),
        Listening("[::1]", ("::1",), ("127.0.0.1",)),
        Listening("0.0.0.0", ("127.0.0.1",), ("::1",)),
    ],
    ids=["both", "both-by-two-workers", "ipv6", "ipv4"],
)
def test_listener_and_health_answer_on_the_families_they_name(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, case: Listening
) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, keys=[signing_key])
        changes = {
            "workers": case.workers,
            "listeners": [{**listener(one.port), "address": f"{case.address}:{one.port}"}],
            "health": {"address": f"{case.address}:{one.health_port}"},
        }
        one.write_service({**one.service_document(upstream.url), **fast(changes)})
        one.health_host = "[::1]" if case.answering == ("::1",) else "127.0.0.1"
        with one:
            for host in case.answering:
                with one.connect(pki.client, host=host) as wire:
                    answer = wire.request("GET", "/accounts/1", token=signing_key.token(pki.client))
                assert (host, answer.status) == (host, 200)
                shown = f"[{host}]" if ":" in host else host
                assert get(f"http://{shown}:{one.health_port}/readyz")[0] == 200
            for host in case.refusing:
                with pytest.raises(ConnectionRefusedError):
                    one.connect(pki.client, host=host)


def test_api_that_listens_on_the_loopback_of_ipv6_only_is_reached(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    with Recorder(host="::1") as upstream:
        assert upstream.url.startswith("http://[::1]:")
        with (
            Sidecar(tmp_path, pki, upstream.url, keys=[signing_key], service=fast(None)) as one,
            one.connect(pki.client) as wire,
        ):
            assert wire.request("GET", "/accounts/1", token=signing_key.token(pki.client)).status == 200
        assert [seen.target for seen in upstream.seen] == ["/accounts/1"]
