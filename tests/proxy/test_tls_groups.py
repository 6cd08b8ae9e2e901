"""The key exchange of a handshake (RFC 8446 §4.2.7): what it came to is known, and a listener chooses the groups."""

from dataclasses import replace
from pathlib import Path

import pytest
from OpenSSL._util import lib as _lib

from sidecar.proxy.tls import ServerTls, TlsFailure
from tests.support.live_server import LiveServer, tls_settings
from tests.support.pki import Pki
from tests.support.tls_client import Wire, client_context
from tests.support.tls_pair import Pair


def shaken(tls: ServerTls, pki: Pki, version: str = "1.3", client_groups: bytes = b"") -> Pair:
    pair = Pair(tls, pki.client, version)
    if client_groups:
        assert _lib.SSL_set1_curves_list(pair.client._ssl, client_groups) == 1
    pair.shake_hands()
    assert pair.engine.established
    return pair


@pytest.mark.field_cases
@pytest.mark.parametrize(
    ("version", "offered", "group"),
    [
        ("1.3", b"X25519MLKEM768:X25519", "X25519MLKEM768"),
        ("1.3", b"X25519", "X25519"),
        ("1.3", b"P-256", "P-256"),
        ("1.3", b"ffdhe2048", "ffdhe2048"),
        ("1.2", b"P-256", "P-256"),
    ],
)
def test_a_handshake_tells_version_and_group(
    tmp_path: Path, pki: Pki, version: str, offered: bytes, group: str
) -> None:
    pair = shaken(ServerTls(tls_settings(tmp_path, pki), "main"), pki, version, offered)
    assert pair.engine.negotiated() == (version, group)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_resumed_session_has_a_version_and_perhaps_a_group(tmp_path: Path, pki: Pki, version: str) -> None:
    tls = ServerTls(tls_settings(tmp_path, pki), "main")
    first = shaken(tls, pki, version)
    first.heard()
    again = Pair(tls, resumes=first)
    again.shake_hands()
    assert again.engine.is_resumed()
    assert again.engine.negotiated()[0] == version
    assert again.engine.negotiated()[1] in {"", first.engine.negotiated()[1]}


@pytest.mark.field_cases
def test_a_listener_uses_only_the_groups_of_its_settings(tmp_path: Path, pki: Pki) -> None:
    settings = replace(tls_settings(tmp_path, pki), groups=("P-384", "X25519"))
    tls = ServerTls(settings, "main")
    assert shaken(tls, pki, client_groups=b"P-256:X25519").engine.negotiated() == ("1.3", "X25519")


def test_in_tls_1_2_the_groups_are_those_of_certificates_too(tmp_path: Path, pki: Pki) -> None:
    """RFC 8422 §5.1: there the curves of the key exchange are the curves of keys."""
    narrow = replace(tls_settings(tmp_path, pki), groups=("P-384",))
    with pytest.raises(TlsFailure, match="wrong curve"):
        shaken(ServerTls(narrow, "main"), pki, "1.2", b"P-256:P-384")
    wide = replace(narrow, groups=("X25519", "P-256"))
    pair = shaken(ServerTls(wide, "main"), pki, "1.2", b"P-384:P-256:X25519")
    assert pair.engine.negotiated()[1] in wide.groups


def test_a_group_that_openssl_does_not_have_is_named(tmp_path: Path, pki: Pki) -> None:
    settings = replace(tls_settings(tmp_path, pki), groups=("X25519", "P-999"))
    with pytest.raises(ValueError, match=r"tls\.groups: this OpenSSL does not know all of X25519, P-999"):
        ServerTls(settings, "main")


def test_every_connection_knows_and_counts_its_own(tmp_path: Path, pki: Pki) -> None:
    settings = replace(tls_settings(tmp_path, pki), groups=("P-384",))
    with LiveServer(settings) as server:
        with Wire.tls(server.port(0), context=client_context(pki.client)) as wire:
            wire.request()
        (presenter,) = server.gate.presenters
        assert (presenter.tls_version, presenter.tls_group) == ("1.3", "P-384")
        assert server.observed.negotiations == [("1.3", "P-384")]
