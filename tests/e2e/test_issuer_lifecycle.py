"""Traffic through everything that happens to an issuer: rotation with overlap and without, a key withdrawn, a minute of
outage with a restart of the sidecar in the middle, and the issuer back with other keys. npm `oidc-provider` and the
sidecar are real processes; not one request may be refused that should pass, nor pass that should not.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.process.world import checks, figures, get
from tests.real.provider import OidcProvider
from tests.support.mint import SigningKey
from tests.support.pki import Pki, certificate_pem
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, issuer, merged, policy
from tests.support.traffic import Credential, Expected, Traffic

pytestmark = [pytest.mark.real, pytest.mark.slow]

REFRESH = 2.0
"""Seconds between background fetches; after one of them a withdrawn key must be out of use."""
OUTAGE = 60.0
KEYS = {
    "discovery": True,
    "jwks_file": None,
    "cool_down": "250ms",
    "minimum_interval": "1s",
    "default_interval": "2s",
    "maximum_interval": "2s",
}


@pytest.fixture
def provider(tmp_path: Path, pki: Pki) -> Iterator[OidcProvider]:
    """One of its own: its keys come and go, and so does it."""
    with OidcProvider(tmp_path / "provider", pki) as running:
        yield running


@pytest.fixture
def sidecar(tmp_path: Path, pki: Pki, provider: OidcProvider) -> Iterator[Sidecar]:
    folder = tmp_path / "sidecar"
    trusted = merged(
        issuer(
            issuer=provider.issuer, algorithms=["ES256"], keys=None, http={"ca_file": "../tls/issuer-ca.crt"}
        ),
        {"keys": {name: value for name, value in KEYS.items() if value is not None}},
    )
    with Recorder() as upstream:
        one = Sidecar(
            folder,
            pki,
            upstream.url,
            policy_document=policy(issuers=[trusted]),
            service={"state_directory": "state"},
        )
        (folder / "tls" / "issuer-ca.crt").write_bytes(certificate_pem(pki.server_authority.certificate))
        with one:
            eventually(lambda: is_ready(one), what="the sidecar is ready")
            yield one


def is_ready(sidecar: Sidecar) -> bool:
    return get(f"{sidecar.health_url}/readyz")[0] == 200


class World:
    """The traffic's credentials as the issuer's keys come and go."""

    def __init__(self, provider: OidcProvider, sidecar: Sidecar, traffic: Traffic) -> None:
        self.provider = provider
        self.sidecar = sidecar
        self.traffic = traffic
        self.rightful, self.wrongful, self.forged = (stream.credentials for stream in traffic.streams)
        self.stranger = SigningKey.create("ES256", "stranger")
        self.numbers = itertools.count()
        self.forged.append(Credential("unknown kid", self.unknown_kid, provider.pki.client, Expected.REFUSED))

    def unknown_kid(self) -> str:
        key = self.stranger.with_kid(f"unknown-{next(self.numbers)}")
        return key.token(self.provider.pki.client, iss=self.provider.issuer)

    def welcome(self, name: str) -> Credential:
        """A token under the issuer's present keys, which must pass from now on, and its abuses, which must not."""
        pki = self.provider.pki
        token = self.provider.token("client-1")
        known_kid = self.stranger.with_kid(jwt.get_unverified_header(token)["kid"])
        forged = known_kid.token(pki.client, iss=self.provider.issuer)
        good = Credential(f"token {name}", token, pki.client, Expected.PASS)
        self.wrongful.append(Credential(f"stolen token {name}", token, pki.other_client, Expected.REFUSED))
        self.wrongful.append(Credential(f"forged token {name}", forged, pki.client, Expected.REFUSED))
        self.rightful.append(good)
        return good

    def withdraw_all(self) -> list[Credential]:
        """The keys of all tokens so far are about to go: until the sidecar can know, they may do either."""
        gone = list(self.rightful)
        for credential in gone:
            credential.expected = Expected.EITHER
        self.rightful.clear()
        self.wrongful.extend(gone)
        return gone

    def settles(self) -> None:
        """Until the sidecar holds the keys of this moment: of two fetches that end after it, one began after it."""
        fetched = ("sidecar_jwks_refresh_total", self.provider.issuer, "success")
        before = figures(self.sidecar).get(fetched, 0)
        eventually(lambda: figures(self.sidecar).get(fetched, 0) >= before + 2, 60, "a fetch of keys")

    def runs(self, seconds: float, name: str) -> None:
        """Lets traffic flow for a while and says what came of it."""
        time.sleep(max(0.0, seconds))
        print(self.traffic.phase(name))


def expire(credentials: list[Credential]) -> None:
    """The sidecar must know by now."""
    for credential in credentials:
        credential.expected = Expected.REFUSED


@pytest.mark.timeout(420)
def test_no_request_is_wrongly_refused_or_permitted_through_an_issuers_life(
    provider: OidcProvider, sidecar: Sidecar
) -> None:
    with Traffic(sidecar, 3) as traffic:
        world = World(provider, sidecar, traffic)
        world.welcome("1")
        world.runs(2, "steady")

        provider.rotate(keep_old=True)
        world.welcome("2")
        world.runs(3, "rotation with overlap")

        old = world.withdraw_all()
        provider.rotate()
        world.welcome("3")
        world.settles()
        expire(old)
        world.runs(2, "rotation without overlap")

        old = world.withdraw_all()
        provider.rotate()  # nobody uses the new key: only the background can notice
        world.settles()
        expire(old)
        world.runs(1, "key removed, none used in its place")
        world.welcome("4")
        world.runs(2, "first use of the next key")

        provider.stop()
        began = time.monotonic()
        world.runs(OUTAGE / 2, f"issuer down {OUTAGE / 2:.0f} s")
        assert is_ready(sidecar), "an outage takes no readiness back"
        with traffic.paused():
            assert sidecar.stop() == 0
            sidecar.start()
        eventually(lambda: is_ready(sidecar), what="ready from the keys on disk")
        assert checks(sidecar)[f"issuer keys {provider.issuer}"][0]
        world.runs(OUTAGE - (time.monotonic() - began), "restarted, issuer still down")
        assert figures(sidecar)[("sidecar_jwks_age_seconds", provider.issuer)] >= OUTAGE - REFRESH

        old = world.withdraw_all()  # it comes back with new keys
        provider.start()
        world.welcome("5")
        world.settles()
        expire(old)
        world.runs(3, "issuer back, with other keys")

    counts = traffic.counts
    print(
        f"{counts['requests']} requests: {counts['wrongly refused']} wrongly refused, "
        f"{counts['wrongly permitted']} wrongly permitted, {counts['broken']} broken, "
        f"{counts['undetermined']} undetermined while a key was being withdrawn"
    )
    assert counts["wrongly permitted"] == 0, traffic.complaints
    assert counts["wrongly refused"] == 0, traffic.complaints
    assert counts["broken"] == 0, traffic.complaints
    assert counts["200"] > 200
    assert counts["undetermined"] < counts["requests"] / 4
