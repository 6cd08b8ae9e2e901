import pytest

from sidecar.decision.denial import Denied, Reason
from sidecar.decision.registered_client.method import (
    ByCertificate,
    ByName,
    ClientMethod,
    NoAuthority,
    Otherwise,
    RegisteredClient,
)
from sidecar.decision.registered_client.name import nobody
from tests.support.client_authority import Registered, Vouching
from tests.support.pki import self_signed


def test_nobody_vouches_for_nobody() -> None:
    with pytest.raises(Denied) as caught:
        NoAuthority().verify(self_signed().presented, (), 0)
    assert caught.value.reason is Reason.CLIENT_CERTIFICATE_UNTRUSTED


def test_method_of_a_client_follows_from_how_it_proves_who_it_is() -> None:
    """RFC 8705 §2.1.1 and §2.2.1."""
    proofs = (ByName(nobody(), Vouching()), ByCertificate(Registered()), Otherwise())
    assert [RegisteredClient("c", one).method for one in proofs] == [
        ClientMethod.TLS_CLIENT_AUTH, ClientMethod.SELF_SIGNED_TLS_CLIENT_AUTH, ClientMethod.OTHER,
    ]  # fmt: skip
