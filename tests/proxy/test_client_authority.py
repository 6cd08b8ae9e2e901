"""Who vouches for a client's certificate, on a listener that accepts any: OpenSSL, by the client's own authorities."""

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from OpenSSL import crypto

from sidecar.decision.denial import Denied, Reason
from sidecar.decision.registered_client.method import ClientMethod
from sidecar.decision.registered_client.name import NameKind, registered_name
from sidecar.decision.registered_client.registry import ClientRegistry
from sidecar.decision.registered_client.token_request import ClaimedMethod, TokenRequest
from sidecar.decision.request import Presenter
from sidecar.proxy.authorization_server.authority import TrustedAuthority
from sidecar.proxy.authorization_server.clients import registry
from sidecar.proxy.authorization_server.configuration import AuthoritySettings, ClientSettings
from sidecar.proxy.tls import ServerTls
from sidecar.proxy.tls.verification import ChainVerification
from tests.support.client_authority import Registered
from tests.support.live_server import tls_settings
from tests.support.pki import (
    Authority,
    Identity,
    Pki,
    Profile,
    certificate_der,
    certificate_pem,
    make_key,
    self_signed,
    subject_alternative_names,
    utc_now,
)  # fmt: skip
from tests.support.tls_pair import Pair

ROOT = Authority.root("tpp root")
BELOW = ROOT.intermediate("tpp issuing")
NAMED = Profile("tpp-1", names=tuple(subject_alternative_names(["tpp-1.example"])))
CLIENT, DIRECT = BELOW.issue(NAMED), ROOT.issue(NAMED)
NOW = time.time()


def settings(
    folder: Path, *authorities: Identity, crl: bytes | None = None, partial: bool = False
) -> AuthoritySettings:
    file, lists = folder / "tpp-ca.pem", folder / "tpp.crl"
    file.write_bytes(b"".join(certificate_pem(one.certificate) for one in authorities))
    if crl is not None:
        lists.write_bytes(crl)
    return AuthoritySettings(file, lists if crl is not None else None, partial)


def verified(authority: TrustedAuthority, identity: Identity, *chain: Identity) -> float:
    sent = [certificate_der(one.certificate) for one in chain]
    return authority.verify(identity.presented, sent, NOW)


def refusal(authority: TrustedAuthority, identity: Identity, *chain: Identity) -> str:
    with pytest.raises(Denied) as caught:
        verified(authority, identity, *chain)
    assert caught.value.reason is Reason.CLIENT_CERTIFICATE_UNTRUSTED
    assert caught.value.failure.expected == "an authority of tpp-ca.pem"
    return caught.value.failure.presented


def test_chain_leads_to_an_authority_of_the_client(tmp_path: Path) -> None:
    authority = TrustedAuthority(settings(tmp_path, ROOT))
    assert verified(authority, DIRECT) == DIRECT.presented.not_after
    assert verified(authority, CLIENT, BELOW) == CLIENT.presented.not_after


def test_chain_whose_middle_is_missing_leads_nowhere(tmp_path: Path) -> None:
    assert "unable to get local issuer certificate" in refusal(
        TrustedAuthority(settings(tmp_path, ROOT)), CLIENT
    )


def test_same_subject_of_another_authority_is_refused(tmp_path: Path) -> None:
    """Even where the authority has the same name, and comes along."""
    twin = Authority.root("tpp root")
    authority = TrustedAuthority(settings(tmp_path, ROOT))
    assert refusal(authority, twin.issue(NAMED), twin)
    assert refusal(authority, Authority.root("other").issue(NAMED))


def test_self_signed_twin_is_refused(tmp_path: Path) -> None:
    authority = TrustedAuthority(settings(tmp_path, ROOT))
    assert "self-signed" in refusal(authority, self_signed(NAMED))
    assert refusal(authority, self_signed(NAMED, DIRECT.key), ROOT)


def test_certificate_that_a_client_certified_is_no_clients(tmp_path: Path) -> None:
    """RFC 5280 §4.2.1.9: who is no authority vouches for nobody."""
    below = Profile("evil").certify(key := make_key(), DIRECT)
    assert refusal(TrustedAuthority(settings(tmp_path, ROOT)), Identity(below, key), DIRECT)


def test_chain_may_end_below_a_root_where_that_is_wanted(tmp_path: Path) -> None:
    whole = TrustedAuthority(settings(tmp_path, BELOW))
    assert refusal(whole, CLIENT)
    partial = TrustedAuthority(settings(tmp_path, BELOW, partial=True))
    assert verified(partial, CLIENT) == CLIENT.presented.not_after


def test_revoked_certificate_is_refused_and_nothing_outlives_its_list(tmp_path: Path) -> None:
    end = utc_now() + dt.timedelta(hours=1)
    crl = ROOT.revocation_list(DIRECT, not_after=end)
    authority = TrustedAuthority(settings(tmp_path, ROOT, crl=crl))
    assert refusal(authority, DIRECT) == "certificate revoked"
    assert verified(authority, ROOT.issue(NAMED)) == end.timestamp()


def test_chain_longer_than_any_is_refused_unread(tmp_path: Path) -> None:
    said = refusal(TrustedAuthority(settings(tmp_path, ROOT)), DIRECT, *[BELOW] * 11)
    assert said == "11 certificates above the client's"


def test_chain_is_verified_once_for_as_long_as_it_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifications: list[int] = []
    verify = ChainVerification.verified

    def counted(chains: ChainVerification, chain: Sequence[bytes]) -> list[crypto.X509]:
        verifications.append(len(chain))
        return verify(chains, chain)

    monkeypatch.setattr(ChainVerification, "verified", counted)
    authority = TrustedAuthority(settings(tmp_path, ROOT))
    until = verified(authority, CLIENT, BELOW)
    assert verified(authority, CLIENT, BELOW) == until
    assert len(verifications) == 1
    authority.verify(CLIENT.presented, [certificate_der(BELOW.certificate)], until)
    assert len(verifications) == 2, "its time is up"
    refusal(authority, CLIENT)
    assert len(verifications) == 3, "another chain"


def test_only_so_many_chains_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.proxy.authorization_server.authority._REMEMBERED", 1)
    authority = TrustedAuthority(settings(tmp_path, ROOT))
    for _ in range(2):
        verified(authority, DIRECT)
        verified(authority, CLIENT, BELOW)
    assert len(authority._known) == 1


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_certificates_above_the_clients_are_never_lost_to_a_resumed_session(
    tmp_path: Path, pki: Pki, version: str
) -> None:
    """A resumed session has the client's certificate alone, so in front of an authorization server there is none."""
    for resumes in (True, False):
        server = ServerTls(replace(tls_settings(tmp_path, pki), resumes=resumes), "main")
        first = Pair(server, CLIENT, version)
        first.shake_hands()
        assert len(first.engine.chain()) == 2
        first.heard()  # its tickets come with it
        second = Pair(server, CLIENT, version, resumes=first)
        second.shake_hands()
        assert second.engine.is_resumed() is resumes
        assert len(second.engine.chain()) == (1 if resumes else 2)


# --- the registry of a configuration


def test_registry_of_a_configuration_shares_authorities(tmp_path: Path) -> None:
    trusted = settings(tmp_path, ROOT)
    own, published = self_signed(), self_signed()
    clients = [
        *(
            ClientSettings(
                f"tpp-{number}", ClientMethod.TLS_CLIENT_AUTH, "a:1",
                registered_name(NameKind.SAN_DNS, f"tpp-{number}.example"), trusted,
            )
            for number in range(1, 4)
        ),
        ClientSettings(
            "own", ClientMethod.SELF_SIGNED_TLS_CLIENT_AUTH, "a:1", thumbprints=frozenset({own.presented.thumbprint})
        ),
        ClientSettings("url", ClientMethod.SELF_SIGNED_TLS_CLIENT_AUTH, "a:1", jwks_url="https://url"),
        ClientSettings("old", ClientMethod.OTHER, "a:1", hands_certificate=True),
    ]  # fmt: skip
    made = registry(clients, {"https://url": Registered(published.presented)})
    assert len(made) == 6
    authorities = {id(made.client(f"tpp-{number}").proof.authority) for number in range(1, 4)}  # type: ignore[union-attr]
    assert len(authorities) == 1
    for client_id, identity in (("tpp-1", DIRECT), ("own", own), ("url", published)):
        assert asked(made, client_id, identity) == client_id
    for client_id, identity in (("tpp-2", DIRECT), ("own", published), ("url", own)):
        with pytest.raises(Denied):
            asked(made, client_id, identity)
    assert asked(made, "old", own) == "old"


def asked(made: ClientRegistry, client_id: str, identity: Identity) -> str:
    request = TokenRequest(client_id, ClaimedMethod.NONE, {}, b"")
    return made.authenticate(request, Presenter(identity.presented, "main", "peer"), NOW).client_id


def test_client_without_a_name_is_a_fault_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a:1: tls_client_auth needs a name and an authority"):
        registry([ClientSettings("c", ClientMethod.TLS_CLIENT_AUTH, "a:1")], {})
