"""Files of clients: what they say, and every mistake at its line."""

import base64
import json
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from sidecar.decision.denial import Denied
from sidecar.decision.registered_client.method import ClientMethod
from sidecar.decision.registered_client.name import NameKind
from sidecar.decision.registered_client.registry import ClientRegistry
from sidecar.decision.registered_client.token_request import ClaimedMethod, TokenRequest
from sidecar.decision.request import Presenter
from sidecar.issuer.configuration import ClientSecretBasic, ClientSecretPost, PrivateKeyJwt
from sidecar.process.reload.loader import load_apart
from sidecar.proxy.authorization_server.clients import registry
from sidecar.proxy.authorization_server.configuration import ClientSettings
from sidecar.settings import SettingsError, load
from sidecar.settings import document as documents
from tests.support.client_files import SECTION, Clients, jwk
from tests.support.pki import Pki, Profile, make_key, self_signed

BY_CA = "client_id: c, method: tls_client_auth, ca_file: ../ca.crt"
OWN = "client_id: c, method: self_signed_tls_client_auth"


@pytest.fixture
def clients(pki: Pki) -> Iterator[Clients]:
    with tempfile.TemporaryDirectory() as folder:
        yield Clients.create(Path(folder), pki)


def loaded(clients: Clients) -> tuple[ClientSettings, ...]:
    server = clients.configuration.load().authorization_server
    assert server is not None
    return server.clients


@pytest.mark.parametrize(
    ("key", "value", "compared"),
    [
        ("subject_dn", "CN=c, O=Bank", ((("2.5.4.10", b"~bank"),), (("2.5.4.3", b"~c"),))),
        ("san_dns", "TPP.example", "tpp.example"),
        ("san_uri", "spiffe://tpp/C", "spiffe://tpp/C"),
        ("san_ip", "2001:DB8::1", bytes.fromhex("20010db8000000000000000000000001")),
        ("san_email", "Api@TPP.example", "Api@tpp.example"),
    ],
)
def test_name_is_parsed_once(clients: Clients, key: str, value: str, compared: object) -> None:
    clients.write_client(f'{BY_CA}, {key}: "{value}"')
    (client,) = loaded(clients)
    assert client.method is ClientMethod.TLS_CLIENT_AUTH
    assert client.name is not None
    assert (client.name.kind, client.name.text, client.name.value) == (NameKind(key), value, compared)
    assert client.authority is not None
    assert client.authority.ca_file == clients.folder / "clients/../ca.crt"


def test_certificates_are_registered_by_file_or_jwk_set(clients: Clients) -> None:
    thumbprint = clients.own.presented.thumbprint
    for text in ("certificate_files: [../own.crt]", "jwks_file: ../own.jwks"):
        clients.write_client(f"{OWN}, {text}")
        assert loaded(clients)[0].thumbprints == {thumbprint}
    clients.write_client(f"{OWN}, jwks_url: https://tpp.example/jwks")
    (client,) = loaded(clients)
    assert (client.thumbprints, client.jwks_url) == (frozenset(), "https://tpp.example/jwks")


def test_translation_and_other_clients_are_read(clients: Clients) -> None:
    secret, key = clients.folder / "clients/../secret", clients.folder / "clients/../signer.key"
    basic = "translate: {method: client_secret_basic, client_secret_file: ../secret}"
    signed = "translate: {method: private_key_jwt, key_file: ../signer.key, key_id: k, audience: a}"
    clients.write(
        f"clients:\n  - {{{BY_CA}, san_dns: c, {basic}}}\n"
        f"  - {{{BY_CA.replace(': c,', ': d,')}, san_dns: d, {basic.replace('basic', 'post')}}}\n"
        f"  - {{{BY_CA.replace(': c,', ': e,')}, san_dns: e, {signed}}}\n"
        "  - {client_id: old, method: other, certificate: true}\n  - {client_id: older, method: other}\n"
    )
    assert [one.translation for one in loaded(clients)] == [
        ClientSecretBasic("c", secret), ClientSecretPost("d", secret), PrivateKeyJwt("e", key, None, "k", "a"),
        None, None,
    ]  # fmt: skip
    assert [one.hands_certificate for one in loaded(clients)[3:]] == [True, False]
    assert loaded(clients)[4].place == f"{clients.folder}/clients/a.yaml:6"


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (BY_CA, "exactly one of `subject_dn`, `san_dns`, `san_uri`, `san_ip`, `san_email` (RFC 8705 §2.1.2), got none"),
        (f"{BY_CA}, san_dns: a, san_ip: 192.0.2.1", "got `san_dns`, `san_ip`"),
        ("client_id: c, method: tls_client_auth, san_dns: a", "a name counts only with its authority"),
        (f'{BY_CA}, san_dns: "*.example"', "a wildcard: a client is registered by one name"),
        (f"{BY_CA}, san_dns: tpp.exämple", "expected a DNS name in ASCII"),
        (f"{BY_CA}, san_ip: 192.0.2.0/24", "expected one IP address"),
        (f'{BY_CA}, san_ip: "fe80::1%eth0"', "expected one IP address"),
        (f"{BY_CA}, san_uri: tpp", "expected a URI in ASCII"),
        (f"{BY_CA}, san_email: tpp.example", "expected a mailbox in ASCII"),
        (f"{BY_CA}, subject_dn: XYZ=a", "unknown attribute 'XYZ'"),
        (f"{BY_CA}, subject_dn: /CN=a/O=b", "expected RFC 4514"),
        (f"{BY_CA}, san_dns: a, certificate: true", "`certificate` has no effect with `method: tls_client_auth`"),
        (OWN, "needs exactly one of `certificate_files`, `jwks_file`, `jwks_url`"),
        (f"{OWN}, jwks_file: ../own.jwks, certificate_files: [../own.crt]", "needs exactly one of"),
        (f"{OWN}, certificate_files: []", "must not be empty"),
        (f"{OWN}, certificate_files: [../ca.crt]", "holds an authority's certificate (CA:TRUE)"),
        (f"{OWN}, certificate_files: [../server.crt]", "holds not for the purpose clientAuth"),
        (f"{OWN}, certificate_files: [../none.crt]", "none.crt` does not exist"),
        (f"{OWN}, certificate_files: [../clients]", "clients` is not a file"),
        (f"{OWN}, jwks_file: ../own.crt", "is not JSON"),
        ("client_id: c, method: other, ca_file: ../ca.crt", "`ca_file` has no effect with `method: other`"),
        ("client_id: c, method: othr", "did you mean `other`?"),
        ('client_id: "\\u00e4", method: other', "is not a client_id of printable ASCII"),
        (f"{BY_CA}, san_dns: a, crl_file: ../ca.crt", "holds no certificate revocation list"),
        (f"{BY_CA}, san_dns: a, translate: {{method: client_secret_post}}", "needs `client_secret_file`"),
        (
            f"{BY_CA}, san_dns: a, translate: {{method: client_secret_post, client_secret_file: ../secret, key_id: a}}",
            "`key_id` has no effect with `method: client_secret_post`",
        ),
        (
            f"{BY_CA}, san_dns: a, translate: {{method: client_secret_post, client_secret_file: ../own.crt}}",
            "is readable by everyone",
        ),
        (
            f"{BY_CA}, san_dns: a, translate: {{method: private_key_jwt, key_file: ../secret}}",
            "not an unencrypted PEM private key",
        ),
        (
            f"{BY_CA}, san_dns: a, translate: {{method: private_key_jwt, key_file: ../signer.key, algorithm: RS256}}",
            "the key does not fit the algorithm",
        ),
    ],
)  # fmt: skip
def test_mistake_is_named(clients: Clients, client: str, expected: str) -> None:
    (clients.folder / "own.crt").chmod(0o644)
    clients.write_client(client)
    (problem,) = clients.problems()
    assert expected in problem
    assert problem.startswith("2:")
    assert "s3cret" not in problem


def test_all_mistakes_of_all_files_are_told_at_once(clients: Clients) -> None:
    clients.write_client("client_id: a, method: othr")
    clients.write(
        "clients:\n  - {client_id: tpp-1, method: other}\n  - {client_id: tpp-1, method: other}\nclient: 1\n",
        "b.yaml",
    )
    clients.write("- one\n", "c.yaml")
    clients.write("clients:\n  - a: &x 1\n", "d.yaml")
    clients.write("clients: none\n", "e.yaml")
    found = clients.problems()
    for expected in (
        "2:28: expected one of", "`tpp-1` is already registered:", "4:1: unknown key `client`",
        "1:1: expected a mapping", "2:8: anchors", "1:10: expected a list",
    ):  # fmt: skip
        assert any(expected in one for one in found), (expected, found)


def test_file_that_nobody_can_read_is_a_mistake(clients: Clients) -> None:
    (clients.folder / "clients" / "b.yaml").write_bytes(b"\xff")
    assert clients.problems() == ["1:1: is not UTF-8 text"]


def test_file_of_clients_that_everyone_may_write_is_refused(clients: Clients) -> None:
    (clients.folder / "clients" / "a.yaml").chmod(0o666)
    (problem,) = clients.problems()
    assert "is writable by everyone" in problem


def test_secret_that_everyone_may_read_can_be_accepted_loudly(clients: Clients) -> None:
    (clients.folder / "secret").chmod(0o644)
    accepted = "insecure_secret_readable_by_everyone: true"
    clients.write_client(
        f"{BY_CA}, san_dns: a, translate: {{method: client_secret_post, client_secret_file: ../secret, {accepted}}}"
    )
    assert clients.problems() == []
    (danger,) = clients.configuration.load().dangers
    assert "`insecure_secret_readable_by_everyone` is on" in danger.message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"x5c": []}, "key 1: no certificate (`x5c`)"),
        ({"x5c": ["!"]}, "holds no certificate, or not in base64"),
        ({"x5c": ["QUJD"]}, "holds no certificate, or not in base64"),
        ({"x": "AAAA"}, "key 1: "),
        ({"kty": "oct"}, "key 1: "),
    ],
)
def test_set_without_a_usable_certificate_is_a_mistake(
    clients: Clients, change: dict[str, object], expected: str
) -> None:
    (clients.folder / "own.jwks").write_text(json.dumps({"keys": [jwk(clients.own) | change]}))
    clients.write_client(f"{OWN}, jwks_file: ../own.jwks")
    (problem,) = clients.problems()
    assert "holds no certificate that can be used" in problem
    assert expected in problem


def test_certificate_of_another_key_and_an_authority_are_skipped_and_named(clients: Clients) -> None:
    """RFC 7517 §4.7: the key in the certificate must be the key that the other members are."""
    other, authority = self_signed(), self_signed(Profile(is_authority=True))
    mixed = jwk(clients.own) | {"x5c": jwk(other)["x5c"]}
    keys = [mixed, jwk(authority), jwk(clients.own), *[{}] * 98]
    (clients.folder / "own.jwks").write_text(json.dumps({"keys": keys}))
    clients.write_client(f"{OWN}, jwks_file: ../own.jwks")
    assert loaded(clients)[0].thumbprints == {clients.own.presented.thumbprint}
    found = "\n".join(clients.warnings())
    assert "key 1: the certificate in `x5c` is of another key: not used" in found
    assert "key 2: an authority's certificate (CA:TRUE)" in found
    assert "1 keys past the first 100: not used" in found


def test_set_that_is_none_is_a_mistake(clients: Clients) -> None:
    (clients.folder / "own.jwks").write_text("[]")
    clients.write_client(f"{OWN}, jwks_file: ../own.jwks")
    (problem,) = clients.problems()
    assert "not a JWK set: no list `keys`" in problem
    (clients.folder / "own.jwks").write_text('{"keys": []}')
    assert "holds no certificate that can be used" in clients.problems()[0]


def test_same_file_is_looked_into_once_and_told_once(clients: Clients) -> None:
    (clients.folder / "ca.crt").write_text("no certificate")
    clients.write(
        "clients:\n"
        + "".join(f"  - {{{BY_CA.replace(': c,', f': c{n},')}, san_dns: c{n}}}\n" for n in range(50))
    )
    assert len(clients.problems()) == 1


def test_what_is_not_here_is_a_warning_where_it_may_be(clients: Clients) -> None:
    (clients.folder / "ca.crt").unlink()
    assert [one.partition("`")[0] for one in clients.problems()] == ["2:58: "]
    found = load(clients.configuration.file, absent_files_pass=True).warnings
    assert any("ca.crt` does not exist" in one.message for one in found)


def test_keys_of_every_kind_are_taken(clients: Clients) -> None:
    own = self_signed(key=make_key("Ed25519"))
    public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(own.key.public_key()))  # type: ignore[arg-type] # Ed25519
    (clients.folder / "own.jwks").write_text(
        json.dumps({"keys": [public | {"use": "enc", "x5c": [base64.b64encode(own.der).decode()]}]})
    )
    clients.write_client(f"{OWN}, jwks_file: ../own.jwks")
    assert loaded(clients)[0].thumbprints == {own.presented.thumbprint}


# --- a changed file is read alone


class Readings:
    """Loads one configuration again and again, as reloads do, and notes which files of clients are read."""

    def __init__(self, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clients = clients
        self.loaded = load(clients.configuration.file, known={})
        self.read: list[str] = []
        read = documents.read

        def noted(path: Path) -> documents.Document:
            if path.parent.name == "clients":
                self.read.append(path.name)
            return read(path)

        monkeypatch.setattr(documents, "read", noted)

    def again(self) -> list[str]:
        """The files that the next reading reads."""
        self.read.clear()
        known = pickle.loads(self.loaded.client_cache)  # our own
        self.loaded = load(self.clients.configuration.file, known=known)
        return sorted(self.read)

    def client_ids(self) -> list[str]:
        assert self.loaded.authorization_server is not None
        return sorted(one.client_id for one in self.loaded.authorization_server.clients)


@pytest.fixture
def readings(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> Readings:
    """`a.yaml` names an authority, `b.yaml` a secret, `c.yaml` nothing."""
    secret = "translate: {method: client_secret_post, client_secret_file: ../secret}"
    clients.write_client(f"{BY_CA.replace(': c,', ': b,')}, san_dns: b, {secret}", "b.yaml")
    clients.write_client("client_id: c, method: other", "c.yaml")
    return Readings(clients, monkeypatch)


def test_only_a_file_that_changed_is_read_again(readings: Readings) -> None:
    assert readings.again() == []
    readings.clients.write_client("client_id: d, method: other", "c.yaml")
    assert readings.again() == ["c.yaml"]
    assert readings.client_ids() == ["b", "d", "tpp-1"]
    assert readings.again() == []
    readings.clients.write_client("client_id: e, method: other", "d.yaml")
    assert readings.again() == ["d.yaml"]
    (readings.clients.folder / "clients" / "b.yaml").unlink()
    assert readings.again() == []
    assert readings.client_ids() == ["d", "e", "tpp-1"]


def test_file_is_read_again_when_what_it_names_changes(readings: Readings) -> None:
    (readings.clients.folder / "ca.crt").write_bytes(self_signed(Profile(is_authority=True)).pem)
    assert readings.again() == ["a.yaml", "b.yaml"]
    (readings.clients.folder / "secret").chmod(0o644)
    with pytest.raises(SettingsError, match="is readable by everyone"):
        readings.again()


def test_mistakes_between_files_are_found_whichever_of_them_changed(readings: Readings) -> None:
    readings.clients.write_client("client_id: tpp-1, method: other", "c.yaml")
    with pytest.raises(SettingsError, match=r"`tpp-1` is already registered: .*a\.yaml:2"):
        readings.again()
    readings.clients.write_client("client_id: b, method: other", "a.yaml")
    with pytest.raises(SettingsError, match=r"b\.yaml:2:17: `b` is already registered: .*a\.yaml:2"):
        readings.again()


def test_file_that_everyone_may_write_since_is_refused(readings: Readings) -> None:
    (readings.clients.folder / "clients" / "c.yaml").chmod(0o666)
    with pytest.raises(SettingsError, match="is writable by everyone"):
        readings.again()


def test_warnings_and_dangers_outlive_the_reading(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [jwk(clients.own), {}]
    (clients.folder / "own.jwks").write_text(json.dumps({"keys": keys}))
    (clients.folder / "secret").chmod(0o644)
    accepted = "client_secret_file: ../secret, insecure_secret_readable_by_everyone: true"
    clients.write(
        f"clients:\n  - {{{OWN}, jwks_file: ../own.jwks}}\n"
        f"  - {{{BY_CA.replace(': c,', ': d,')}, san_dns: d, translate: {{method: client_secret_post, {accepted}}}}}\n"
    )
    readings = Readings(clients, monkeypatch)
    before = (readings.loaded.warnings, readings.loaded.dangers, readings.loaded.files)
    assert len(readings.loaded.dangers) == 1
    assert readings.again() == []
    assert (readings.loaded.warnings, readings.loaded.dangers, readings.loaded.files) == before


def test_overlap_is_found_whichever_file_changed(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    own = clients.authority.issue(Profile("b", organization="Bank"))
    (clients.folder / "own.crt").write_bytes(own.pem)
    clients.write_client(f"{OWN}, certificate_files: [../own.crt]", "b.yaml")
    readings = Readings(clients, monkeypatch)
    assert not readings.loaded.warnings
    clients.write_client(
        'client_id: a, method: tls_client_auth, ca_file: ../ca.crt, subject_dn: "CN=b,O=Bank"'
    )
    assert readings.again() == ["a.yaml"]
    (warning,) = readings.loaded.warnings
    assert "`c`: a certificate of this client is also accepted for `a`" in warning.message


def test_reading_that_nobody_follows_remembers_nothing(clients: Clients) -> None:
    assert clients.configuration.load().client_cache == b""


def test_clients_of_the_environment_are_read_each_time(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORE_CLIENTS", "clients:\n  - {client_id: e, method: other}\n")
    clients.write_section(SECTION.replace("[clients/*.yaml]", '[clients/*.yaml, "env:MORE_CLIENTS"]'))
    readings = Readings(clients, monkeypatch)
    monkeypatch.setenv("MORE_CLIENTS", "clients:\n  - {client_id: f, method: other}\n")
    assert readings.again() == []
    assert readings.client_ids() == ["f", "tpp-1"]
    assert all("env:" not in str(one) for one in readings.loaded.files)


def test_child_process_reads_only_what_changed(clients: Clients) -> None:
    first = load_apart(clients.configuration.file, 1)
    clients.write_client("client_id: new, method: other", "b.yaml")
    second = load_apart(clients.configuration.file, 2, first.client_cache)
    assert second.authorization_server is not None
    assert [one.client_id for one in second.authorization_server.clients] == ["tpp-1", "new"]
    known = pickle.loads(second.client_cache)
    assert {path.name for path in known} == {"a.yaml", "b.yaml"}


def test_ten_thousand_clients_are_looked_up_as_fast_as_one(clients: Clients) -> None:
    """Counted in calls, which no machine's load changes."""
    by_name = "method: tls_client_auth, ca_file: ../ca.crt"
    rows = "".join(f"  - {{client_id: c{n}, {by_name}, san_dns: c{n}.example}}\n" for n in range(2000))
    clients.write(f"clients:\n{rows}", "b.yaml")
    server = clients.configuration.load().authorization_server
    assert server is not None
    many, one = registry(server.clients, {}), registry(server.clients[:1], {})
    assert (len(many), len(one)) == (2001, 1)
    presenter = Presenter(clients.authority.issue(Profile()).presented, "main", "peer")

    def calls(made: ClientRegistry, client_id: str) -> int:
        count = 0

        def note(_frame: object, event: str, _argument: object) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(note)
        try:
            made.authenticate(TokenRequest(client_id, ClaimedMethod.NONE, {}, b""), presenter, time.time())
        except Denied:
            pass
        finally:
            sys.setprofile(None)
        return count

    calls(one, "tpp-1")  # the certificate's names are read once
    assert calls(many, "c1999") == calls(many, "c0") == calls(one, "tpp-1")
