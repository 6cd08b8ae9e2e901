"""Who is authenticated (RFC 8705 §2), and that the one who is not learns nothing from how."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from sidecar.decision.client_certificate import ClientCertificate
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.registered_client.method import ByCertificate, ByName, Otherwise, RegisteredClient
from sidecar.decision.registered_client.name import NameKind, registered_name
from sidecar.decision.registered_client.registry import (
    AuthenticatedClient,
    ClientRegistry,
    UnauthenticatedClient,
)
from sidecar.decision.registered_client.token_request import ClaimedMethod, TokenRequest
from sidecar.decision.request import Presenter
from tests.support.client_authority import Registered, Vouching
from tests.support.pki import Profile, make_key, self_signed, subject_alternative_names

KEY = make_key()
NAMED = Profile(names=tuple(subject_alternative_names(["tpp.example"])))
GOOD, OWN = self_signed(NAMED, KEY).presented, self_signed(key=KEY).presented
TWIN = self_signed(NAMED).presented
"""What another authority says has the same name."""
NOW = GOOD.not_before + 60
AUTHORITY = Vouching(GOOD, until=NOW + 30)
CERTIFICATES = Registered(OWN)
BY_NAME = RegisteredClient("tpp", ByName(registered_name(NameKind.SAN_DNS, "tpp.example"), AUTHORITY))
BY_CERTIFICATE = RegisteredClient("own", ByCertificate(CERTIFICATES))
REGISTRY = ClientRegistry(
    [
        BY_NAME,
        BY_CERTIFICATE,
        RegisteredClient("old", Otherwise()),
        RegisteredClient("bound", Otherwise(True)),
    ]
)


def authenticated(
    client_id: str,
    certificate: ClientCertificate | None,
    method: ClaimedMethod = ClaimedMethod.NONE,
    now: float = NOW,
    chain: tuple[bytes, ...] = (),
) -> AuthenticatedClient | UnauthenticatedClient:
    presenter = Presenter(certificate, "main", "192.0.2.1:4711")
    presenter.chain = chain
    return REGISTRY.authenticate(TokenRequest(client_id, method, {}, b""), presenter, now)


def refused(*args: Any, **kwargs: Any) -> Denied:
    with pytest.raises(Denied) as caught:
        authenticated(*args, **kwargs)
    return caught.value


def test_client_is_authenticated_by_a_name_and_its_authority() -> None:
    found = authenticated("tpp", GOOD, chain=(b"intermediate",))
    assert isinstance(found, AuthenticatedClient)
    assert (found.client_id, found.client, found.certificate) == ("tpp", BY_NAME, GOOD)
    assert found.matched == "san_dns=tpp.example"
    assert found.valid_until == NOW + 30, "the chain ends first"
    assert AUTHORITY.asked[-1] == (b"intermediate",)


def test_what_was_found_of_one_certificate_says_nothing_of_another() -> None:
    """Each certificate is checked itself, also with the same key, or with the same name of another authority."""
    for _ in range(2):
        found = authenticated("tpp", GOOD)
        assert isinstance(found, AuthenticatedClient)
        assert (found.matched, found.certificate) == ("san_dns=tpp.example", GOOD)
        assert refused("tpp", OWN).reason is Reason.CLIENT_CERTIFICATE_MISMATCH
        assert refused("tpp", TWIN).reason is Reason.CLIENT_CERTIFICATE_UNTRUSTED
    assert refused("tpp", GOOD, now=GOOD.not_after + 1).reason is Reason.CLIENT_CERTIFICATE_EXPIRED


def test_client_is_authenticated_by_the_certificate_that_is_registered() -> None:
    found = authenticated("own", OWN)
    assert isinstance(found, AuthenticatedClient)
    assert found.matched == f"x5t#S256={OWN.thumbprint_text}"
    assert found.valid_until == OWN.not_after


def test_client_of_another_method_is_the_servers_affair() -> None:
    for client_id, handed in (("old", None), ("bound", OWN)):
        for method in ClaimedMethod:
            found = authenticated(client_id, OWN, method)
            assert isinstance(found, UnauthenticatedClient)
            assert (found.client_id, found.certificate) == (client_id, handed)
    assert authenticated("bound", None).certificate is None


@pytest.mark.parametrize(
    ("client_id", "certificate", "reason"),
    [
        ("tpp", None, Reason.CLIENT_CERTIFICATE_MISSING),
        ("own", None, Reason.CLIENT_CERTIFICATE_MISSING),
        ("tpp", OWN, Reason.CLIENT_CERTIFICATE_MISMATCH),
        ("own", GOOD, Reason.CLIENT_CERTIFICATE_MISMATCH),
        ("tpp", self_signed(NAMED).presented, Reason.CLIENT_CERTIFICATE_UNTRUSTED),
        ("own", self_signed(key=KEY).presented, Reason.CLIENT_CERTIFICATE_MISMATCH),
        ("tpp", self_signed(Profile(is_authority=True)).presented, Reason.CLIENT_CERTIFICATE_UNFIT),
    ],
    ids=[
        "no certificate", "none of its own", "another's", "another client's", "self-signed twin",
        "another certificate of the registered key", "an authority's",
    ],
)  # fmt: skip
def test_certificate_that_proves_nothing_is_refused(
    client_id: str, certificate: ClientCertificate | None, reason: Reason
) -> None:
    assert refused(client_id, certificate).reason is reason


def test_certificate_past_its_end_is_refused() -> None:
    assert refused("tpp", GOOD, now=GOOD.not_after + 1).reason is Reason.CLIENT_CERTIFICATE_EXPIRED


@pytest.mark.parametrize("method", [one for one in ClaimedMethod if one is not ClaimedMethod.NONE])
def test_client_authenticates_by_the_method_that_it_is_registered_with(method: ClaimedMethod) -> None:
    failed = refused("tpp", GOOD, method)
    assert failed.reason is Reason.CLIENT_METHOD_MISMATCH
    assert (failed.failure.expected, failed.failure.presented) == ("tls_client_auth", method.value)


def test_certificate_that_is_not_registered_may_have_been_published_since() -> None:
    before = CERTIFICATES.misses
    refused("own", GOOD)
    authenticated("own", OWN)
    assert CERTIFICATES.misses == before + 1


def test_client_that_nobody_registered_is_refused_whatever_it_shows() -> None:
    for certificate in (None, GOOD, OWN, self_signed(Profile(is_authority=True)).presented):
        for method in ClaimedMethod:
            assert refused("nobody", certificate, method).reason is Reason.CLIENT_UNKNOWN
    assert refused("", GOOD).reason is Reason.CLIENT_UNKNOWN


def steps(action: Callable[[], object]) -> list[str]:
    """The functions that are called."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and "sidecar" in frame.f_code.co_filename:
            called.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return called


def test_unknown_client_takes_the_steps_of_one_with_a_wrong_certificate() -> None:
    """Which clients there are cannot be told from the time that an answer takes."""

    def certificate() -> ClientCertificate:
        return self_signed(Profile(common_name="stranger")).presented

    registry = ClientRegistry(
        [
            RegisteredClient("dn", ByName(registered_name(NameKind.SUBJECT_DN, "CN=tpp"), AUTHORITY)),
            RegisteredClient("dns", ByName(registered_name(NameKind.SAN_DNS, "tpp.example"), AUTHORITY)),
            BY_CERTIFICATE,
        ]
    )

    def ask(client_id: str, shown: ClientCertificate) -> None:
        with pytest.raises(Denied):
            registry.authenticate(
                TokenRequest(client_id, ClaimedMethod.NONE, {}, b""), Presenter(shown, "main", "peer"), NOW
            )

    one, other = certificate(), certificate()
    known, unknown = steps(lambda: ask("dn", one)), steps(lambda: ask("no", other))
    told = {"Denied.__init__", "Failure.__init__"}
    assert [step for step in unknown if step not in told] == [step for step in known if step not in told]
    for registered in ("dns", "own"):  # what takes time is done for all of them
        shown = certificate()
        taken = steps(lambda client=registered, shown=shown: ask(client, shown))  # type: ignore[misc]
        assert {step for step in unknown if "extensions" in step or "canonical" in step} <= set(taken)


def test_registry_knows_its_clients() -> None:
    assert len(REGISTRY) == 4
    assert REGISTRY.client("tpp") is BY_NAME
    assert REGISTRY.client("nobody") is None
