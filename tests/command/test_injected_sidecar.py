"""What the injector writes is what the sidecar runs on: probes pass, everything else needs its token."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sidecar.injection.manifest import inject
from sidecar.injection.service_file import PROBE_VARIABLE, SERVICE_VARIABLE, STATE_DIRECTORY
from sidecar.settings import load
from tests.injection.samples import container, files_of, http_port, pod, settings
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar, issuer, policy

HOOK = Path(__file__).parents[2] / "helm" / "bound-token-sidecar" / "files" / "request.py"
CATCH_ALL = policy(rules=[{"name": "everything", "match": {"path": "/**"}}], issuers=[issuer()])


def laid_out(folder: Path, one: Sidecar, upstream_port: int) -> None:
    """The files of an injected Pod under `folder`, where the sidecar's container has /etc/sidecar."""
    probed = container(
        "api", http_port(upstream_port), livenessProbe={"httpGet": {"path": "/healthz", "port": "http"}}
    )
    ports = {"port": one.port, "health_port": one.health_port, "admin_port": one.admin_port}
    made = inject(pod(probed), settings(**ports)).manifest
    written = files_of(made)
    service = written[SERVICE_VARIABLE].replace("/etc/sidecar", str(folder))
    service = service.replace(STATE_DIRECTORY, str(folder)) + "bypass_check: {enabled: false}\n"
    one.environment |= {SERVICE_VARIABLE: service, PROBE_VARIABLE: written[PROBE_VARIABLE]}
    one.config = Path(f"env:{SERVICE_VARIABLE}")


def test_the_kubelets_probe_passes_before_a_rule_that_asks_for_a_token(
    tmp_path: Path, pki: Pki, signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recorder() as upstream:
        one = Sidecar(tmp_path, pki, upstream.url, policy_document=CATCH_ALL, keys=[signing_key])
        laid_out(tmp_path, one, upstream.port)
        for name, text in one.environment.items():
            monkeypatch.setenv(name, text)
        names = [rule.name for rule in load(one.config).policy.rules]
        with one:
            for host in ("127.0.0.1", "::1"):  # a Pod may have either family, or both
                with socket.create_connection((host, one.port), timeout=60):
                    pass
            with one.connect() as wire:  # the kubelet has no certificate
                probe = wire.request("GET", "/healthz?full=1", headers={"User-Agent": "kube-probe/1.33"})
                other = wire.request("GET", "/accounts")
                posted = wire.request("POST", "/healthz")
            with one.connect(pki.client) as wire:
                bound = wire.request("GET", "/accounts", token=signing_key.token(pki.client))
    assert names == ["probe-1", "everything"]
    assert [probe.status, other.status, posted.status, bound.status] == [200, 401, 401, 200]


def hook(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HOOK, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_hook_of_helm_test_sees_one_request_pass_and_one_refused(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    pki.client.write(credentials, "tls")
    (credentials / "token").write_text(signing_key.token(pki.client) + "\n")
    with Recorder() as upstream, Sidecar(tmp_path, pki, upstream.url, keys=[signing_key]) as one:
        with_token = hook("127.0.0.1", one.port, "/accounts/1", "/accounts/1", credentials)
        public = hook("127.0.0.1", one.port, "/public/a", "/accounts/1")
        refused = hook("127.0.0.1", one.port, "/accounts/1", "/accounts/1")
        open_door = hook("127.0.0.1", one.port, "/public/a", "/public/b")
    assert with_token.returncode == 0, with_token.stdout
    assert "reason: credentials_missing" in with_token.stdout
    assert [public.returncode, refused.returncode, open_door.returncode] == [0, 1, 1]
    assert (credentials / "token").read_text().strip() not in with_token.stdout


def test_a_refusal_by_anything_but_the_sidecar_does_not_satisfy_the_hook(tmp_path: Path, pki: Pki) -> None:
    """An API that answers 401 by itself, behind a sidecar that lets everything pass, is not protected by it."""
    rules = [{"name": "open", "match": {"path": "/**"}, "public": True}]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        api = subprocess.Popen(
            [sys.executable, "-c", API, str(listener.fileno())], pass_fds=[listener.fileno()]
        )
        try:
            document = policy(rules=rules, issuers=[])
            with Sidecar(tmp_path, pki, f"http://127.0.0.1:{port}", policy_document=document) as one:
                done = hook("127.0.0.1", one.port, "/fine", "/private")
        finally:
            api.terminate()
            api.wait(60)
    assert done.returncode == 1
    assert "the refusal is not the sidecar's" in done.stdout


API = """
import http.server, socket, sys

class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200 if self.path == "/fine" else 401)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

server = http.server.HTTPServer(("127.0.0.1", 0), Answers, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""


@pytest.mark.parametrize("kubernetes", ["1.25", "1.37"])
def test_the_generated_service_file_is_one_the_sidecar_takes(
    kubernetes: str, tmp_path: Path, pki: Pki
) -> None:
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:1", policy_document=CATCH_ALL)
    chosen = settings(
        kubernetes=kubernetes,
        client_ca={"tls_volume": True, "file": "client-ca.crt"},
        refuse_when_bypassable=True,
    )
    made = inject(pod(), chosen).manifest
    text = files_of(made)[SERVICE_VARIABLE]
    one.config.write_text(text.replace("/etc/sidecar", str(tmp_path)))
    found = load(one.config)
    assert (found.proxy.upstream.host, found.proxy.upstream.port) == ("127.0.0.1", 8080)
    assert found.service.bypass.refuse_when_bypassable is True
    assert found.proxy.timeouts.drain == 23.0
    assert found.service.state_directory == Path(STATE_DIRECTORY) / "keys"
    assert not found.dangers
    assert yaml.safe_load(text)["listeners"][0]["client_certificate"]["trust"] == "ca"
