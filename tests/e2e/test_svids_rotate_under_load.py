"""Certificates that live for an hour are renewed while requests are under way, whoever writes the files.

The hours pass in a second each; the files are written as each driver writes them.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.mint import SigningKey
from tests.support.pki import Authority, Identity, Pki
from tests.support.processes import eventually
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, issuer, policy
from tests.support.spiffe import TRUST_DOMAIN, InPlace, Projected, bundle, svid
from tests.support.tls_client import Wire, client_context

HOURS = 4
LAYOUTS = {"csi-driver-spiffe": Projected, "cert-manager-csi": Projected, "spiffe-helper": InPlace}
RULES = [
    {
        "name": "callers",
        "match": {"path": "/**"},
        "require": {"client_certificate": {"san_uri": f"{TRUST_DOMAIN}/callers/**"}},
    }
]


class Load:
    """Requests without pause: on connections that stay, and on new ones, each with the newest SVID of the client."""

    def __init__(self, port: int, key: SigningKey, caller: Identity) -> None:
        self.port, self.key, self.caller = port, key, caller
        self.answers: dict[tuple[str, int], int] = {}
        self.failures: list[str] = []
        self.over = threading.Event()
        self.lock = threading.Lock()

    def count(self, kind: str, status: int) -> None:
        with self.lock:
            self.answers[kind, status] = self.answers.get((kind, status), 0) + 1

    def stay(self) -> None:
        caller = self.caller
        with Wire.tls(self.port, caller) as wire:
            while not self.over.wait(0.005):
                self.count("stays", wire.request("GET", "/a", token=self.key.token(caller)).status)

    def come(self) -> None:
        while not self.over.wait(0.005):
            caller = self.caller
            with Wire.tls(self.port, caller) as wire:
                self.count("comes", wire.request("GET", "/a", token=self.key.token(caller)).status)

    def guarded(self, work: Any) -> None:
        try:
            work()
        except Exception as error:
            self.failures.append(f"{work.__name__}: {error!r}")

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.guarded, args=(work,)) for work in (self.stay, self.come)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join(60)


def served_serial(port: int, caller: Identity, trusted: Authority) -> int | None:
    """The serial number of the server's SVID on a new connection that trusts one root; None if another root did it."""
    from cryptography import x509

    context = client_context(caller)
    context.load_verify_locations(cadata=bundle(trusted).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        with Wire.tls(port, context=context) as wire:
            der = wire.secure.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError:
        return None
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def own_names(authority: Authority, layout: str) -> Identity:
    """The server's certificate: with host names from cert-manager-csi, an SVID from the others."""
    return authority.server() if layout == "cert-manager-csi" else svid(authority, "/apis/accounts")


def prepared(
    folder: Path, pki: Pki, upstream: str, key: SigningKey, layout: str
) -> tuple[Sidecar, Projected]:
    """A sidecar that is not started yet, and the driver that writes its certificates."""
    one = Sidecar(folder, pki, upstream, policy_document=policy(rules=RULES, issuers=[issuer()]), keys=[key])
    files = LAYOUTS[layout](folder / "tls")
    document = one.service_document(upstream)
    document["listeners"][0] |= {
        "tls": {
            "certificate_file": f"tls/{files.certificate_file}",
            "private_key_file": f"tls/{files.private_key_file}",
        },
        "client_certificate": {"trust": "ca", "ca_file": f"tls/{files.bundle_file}"},
    }
    one.write_service({**document, "process": {"watch_interval": "100ms"}})
    return one, files


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_svids_are_renewed_every_hour_without_one_failed_request(
    layout: str, tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    roots = [Authority.root("root of the first month")]
    with Recorder() as upstream:
        one, files = prepared(tmp_path, pki, upstream.url, signing_key, layout)
        files.write(own_names(roots[0], layout), bundle(*roots))
        load = Load(one.port, signing_key, svid(roots[0], "/callers/shop"))
        with one, load.running():
            for hour in range(HOURS):
                if hour == 1:  # a new root: first both are trusted, then everybody gets a new SVID
                    roots.append(Authority.root("root of the second month"))
                renewed = own_names(roots[-1], layout)
                files.write(renewed, bundle(*roots))
                wanted = renewed.certificate.serial_number
                eventually(
                    lambda wanted=wanted: served_serial(one.port, load.caller, roots[-1]) == wanted,  # type: ignore[misc]  # bound now
                    what=f"the SVID of hour {hour}",
                )
                load.caller = svid(roots[-1], "/callers/shop")
        assert load.failures == []
        assert {status for _, status in load.answers} == {200}
        assert {kind for kind, _ in load.answers} == {"stays", "comes"}
        assert sum(load.answers.values()) == len(upstream.seen)


def test_a_token_bound_to_last_hours_svid_is_refused_with_this_hours(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    """RFC 8705 §6.3: a token dies with the certificate it is bound to; the same SPIFFE ID is not the same key."""
    authority = Authority.root("root")
    last, current = svid(authority, "/callers/shop"), svid(authority, "/callers/shop")
    stranger = svid(authority, "/other/shop")
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, policy_document=policy(rules=RULES), keys=[signing_key])
        with one:
            with one.connect(current) as wire:
                refused = wire.request("GET", "/a", token=signing_key.token(last))
                passed = wire.request("GET", "/a", token=signing_key.token(current))
            with one.connect(stranger) as wire:
                other = wire.request("GET", "/a", token=signing_key.token(stranger))
    assert (refused.status, refused.json()["reason"]) == (401, "binding_mismatch")
    assert passed.status == 200
    assert other.status == 403
