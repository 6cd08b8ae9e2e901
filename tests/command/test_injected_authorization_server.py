"""What the injector writes for an authorization server, and for gRPC, is what `sidecar check` accepts."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.command.cli import main
from sidecar.command.injector_settings import injection_settings
from sidecar.injection.manifest import inject
from sidecar.injection.service_file import PROBE_VARIABLE, SERVICE_VARIABLE, STATE_DIRECTORY
from sidecar.injection.settings import InjectionSettings
from sidecar.settings import Loaded, load
from sidecar.settings.document import parse
from sidecar.settings.problem import SettingsError
from tests.command.test_inject import ANEW, FLOW, ROUNDTRIP
from tests.injection.samples import container, files_of, http_port, pod, settings
from tests.support.client_files import ONE
from tests.support.pki import Authority, Pki
from tests.support.sidecar import Sidecar, issuer, policy

CATCH_ALL = policy(rules=[{"name": "everything", "match": {"path": "/**"}}], issuers=[issuer()])
INJECTOR = """\
image: registry.example/sidecar:1
authorization_server:
  settings:
    issuer: https://{name}.example.com
    endpoints: {token: {public: /token, upstream: /oauth/token}, introspection: /introspect}
    hand_over:
      header: {format: xfcc, chain: true, verified: {name: X-Verified, yes: "SUCCESS", no: "NONE"}}
      extra_headers_file: /etc/sidecar/clients/proxy-key
    clients_ca_file: /etc/sidecar/clients/web.crt
    audit_binding: refuse
    metadata: {mtls_origin: "https://mtls.{name}.example.com"}
    report_only: {until: 2031-01-31}
  clients_secret: as-clients
"""


def read(folder: Path, text: str) -> InjectionSettings:
    (folder / "injector.yaml").write_text(text)
    return injection_settings(str(folder / "injector.yaml"), {})


def loaded(folder: Path, pki: Pki, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """What the sidecar of an injected Pod reads, with `folder` where its container has /etc/sidecar."""
    Sidecar(folder, pki, "http://127.0.0.1:1", policy_document=CATCH_ALL)
    for name, text in files_of(made).items():
        placed = text.replace("/etc/sidecar", str(folder)).replace(STATE_DIRECTORY, str(folder))
        monkeypatch.setenv(name, placed)
    return load(Path(f"env:{SERVICE_VARIABLE}"))


def with_clients(folder: Path) -> None:
    """The files of the Secret."""
    clients, authority = folder / "clients", Authority.root("tpp root").pem
    clients.mkdir()
    (clients / "a.yaml").write_text(ONE.replace("../ca.crt", "ca.crt"))
    for name in ("ca.crt", "web.crt"):
        (clients / name).write_bytes(authority)
    (clients / "proxy-key").touch(mode=0o440)
    (clients / "proxy-key").chmod(0o640)
    (clients / "proxy-key").write_text("X-Proxy-Key: k3y\n")


def test_the_service_file_of_an_authorization_server_is_one_the_sidecar_takes(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = inject(pod(), read(tmp_path, INJECTOR)).manifest
    with_clients(tmp_path)
    found = loaded(tmp_path, pki, made, monkeypatch)
    server = found.authorization_server
    assert server is not None
    assert server.issuer == "https://accounts.example.com"
    assert server.metadata is not None
    assert server.metadata.mtls_origin == "https://mtls.accounts.example.com"
    assert [one.client_id for one in server.clients] == ["tpp-1"]
    assert server.hand_over_names >= {"X-Verified", "X-Proxy-Key"}
    assert server.report_only_until is not None
    assert not found.dangers


def test_every_setting_of_the_service_files_section_goes_through_the_injector(tmp_path: Path) -> None:
    section = parse("injector.yaml", INJECTOR.encode()).data["authorization_server"]["settings"]
    made = yaml.safe_load(files_of(inject(pod(), read(tmp_path, INJECTOR)).manifest)[SERVICE_VARIABLE])
    written = made["authorization_server"]
    assert set(section) | {"client_files"} == set(written)
    assert written["report_only"] == {"until": "2031-01-31"}
    assert written["hand_over"] == section["hand_over"]


MISTAKES = [
    ("issuer: https://{name}.example.com", "issuer: ftp://as", ":4:13: ", "ftp://as"),
    ("    issuer: https://{name}.example.com\n", "", ":3:3: ", "missing key `issuer`"),
    ("audit_binding: refuse", "audit_binding: deny", ":10:20: ", "expected one of report, refuse"),
    ("audit_binding", "audit_bindings", ":10:5: ", "did you mean `audit_binding`?"),
    ("chain: true, ", "chian: true, ", ":7:30: ", "did you mean `chain`?"),
    ("/introspect}", "/token}", ":5:", "is the path of `token`"),
    ("2031-01-31", "tomorrow", ":12:26: ", "a date is written"),
    (
        "/etc/sidecar/clients/web.crt",
        "web.crt",
        ":9:22: ",
        "the files of the Secret are /etc/sidecar/clients/",
    ),
    ("/etc/sidecar/clients/proxy-key", "/etc/passwd", ":8:27: ", "is not in the Pod"),
    ("    clients_ca_file:", "    client_files: [a]\n    clients_ca_file:", ":", "leave client_files out"),
    (
        '      header: {format: xfcc, chain: true, verified: {name: X-Verified, yes: "SUCCESS", no: "NONE"}}\n',
        "",
        ":9:20: ",
        "`refuse` would refuse all tokens",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "place", "message"), MISTAKES, ids=lambda one: one[:20])
def test_what_the_sidecar_would_refuse_at_its_start_the_injector_refuses_at_its_own(
    right: str, wrong: str, place: str, message: str, tmp_path: Path
) -> None:
    assert INJECTOR.count(right) == 1
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, INJECTOR.replace(right, wrong))
    (problem,) = caught.value.problems
    assert f"injector.yaml{place}" in str(problem)
    assert message in str(problem)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    wrong = INJECTOR.replace("image: ", "images: ").replace("refuse", "deny").replace("xfcc", "pem")
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, wrong)
    text = "\n".join(map(str, caught.value.problems))
    assert all(word in text for word in ("image: Field required", "images", "expected one of report", "pem"))


def test_settings_that_are_no_mapping_are_told_once(tmp_path: Path) -> None:
    for text in ("image: a\nauthorization_server: [a]\n", "image: a\nauthorization_server: {settings: a}\n"):
        with pytest.raises(SettingsError) as caught:
            read(tmp_path, text)
        assert len(caught.value.problems) == 1


@pytest.mark.parametrize("path", ROUNDTRIP, ids=lambda path: path.stem)
def test_uninject_gives_back_every_byte(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "injector.yaml").write_text(INJECTOR)
    """What the sidecar is in front of makes no difference to it: the same manifests are restored."""
    text = path.read_bytes().decode()
    options = ["--settings", str(tmp_path / "injector.yaml"), "--tls-secret", "tls"]
    made = piped(["inject", *options], text, capsys, monkeypatch)
    assert "as-clients" in made
    assert "client_files" in made
    back = piped(["uninject"], made, capsys, monkeypatch)
    assert list(yaml.safe_load_all(back)) == list(yaml.safe_load_all(text))
    if path.stem not in ANEW | FLOW:
        assert back == text


def piped(
    command: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text, newline=""))
    assert main(command) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("probe", [{"grpc": {"port": 8080, "service": "orders.v1.Orders"}}, None])
def test_the_service_file_of_a_grpc_pod_is_one_the_sidecar_takes(
    probe: dict[str, Any] | None, tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = container("api", http_port(name="grpc"), **({"readinessProbe": probe} if probe else {}))
    made = inject(pod(api), settings()).manifest
    assert PROBE_VARIABLE not in files_of(made)
    found = loaded(tmp_path, pki, made, monkeypatch)
    assert [one.protocols for one in found.proxy.listeners] == [("h2", "http/1.1")]
    assert found.proxy.upstream.protocol == "h2"
    assert found.service.grpc_services == (("orders.v1.Orders",) if probe else ())
