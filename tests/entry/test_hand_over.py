"""What is remembered of the fields in which an authorization server is told certificates."""

import tracemalloc

import pytest

from sidecar.decision.request import ClientCertificate
from sidecar.entry.hand_over import HandOver
from sidecar.http.certificate_field import CertificateFormat
from sidecar.proxy.authorization_server.configuration import HandOverSettings
from sidecar.proxy.configuration import CertificateHeaderSettings
from tests.support.pki import Pki


@pytest.mark.parametrize("size", [3000, 40_000], ids=["that fit", "that are too large for a field"])
def test_certificates_and_chains_of_whoever_connects_take_a_bounded_part_of_the_memory(
    size: int, pki: Pki
) -> None:
    """A client that the server itself authenticates is told with any certificate, and with any chain."""
    header = CertificateHeaderSettings(CertificateFormat.RFC9440, "Client-Cert")
    over = HandOver(HandOverSettings(header=header, chain=True))
    usual = pki.client.presented
    told = over.lines(usual, (), is_verified=True)
    tracemalloc.start()
    for at in range(1500):
        der = pki.client.der + at.to_bytes(2) * (size // 2)
        over.lines(ClientCertificate(der, (0.0, 1.0)), (der, der[::-1]), is_verified=False)
        assert over.lines(usual, (), is_verified=True) == told
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told
    assert held <= 10 << 20
