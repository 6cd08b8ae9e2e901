"""The text of the files that the injector writes for one Pod: the service file and the rules for its probes."""

import json
from collections.abc import Iterable, Sequence

from sidecar.injection.placement import Placement
from sidecar.injection.problem import CannotInject
from sidecar.injection.protocol import Spoken
from sidecar.injection.settings import DNS_LABEL, HTTP1, ClientCa, InjectionSettings

SERVICE_DIRECTORY = "/etc/sidecar/config"
POLICY_DIRECTORY = "/etc/sidecar/policies"
TLS_DIRECTORY = "/etc/sidecar/tls"
CLIENT_CA_DIRECTORY = "/etc/sidecar/client-ca"
PROXY_CA_DIRECTORY = "/etc/sidecar/proxy-ca"
DPOP_DIRECTORY = "/etc/sidecar/dpop"
CLIENTS_DIRECTORY = "/etc/sidecar/clients"
STATE_DIRECTORY = "/var/lib/sidecar"
SERVICE_FILE = "sidecar.yaml"
SERVICE_VARIABLE = "SIDECAR_SERVICE_FILE"
PROBE_VARIABLE = "SIDECAR_PROBE_RULES"
"""The files are in the container's environment, which cannot be changed in an existing Pod; annotations can be
patched later by anybody who may label a Pod.
"""

DEFAULT_GRACE_SECONDS = 30
SECONDS_TO_STOP = 2


def service_text(
    placement: Placement,
    settings: InjectionSettings,
    *,
    upstream_host: str,
    grace_seconds: int,
    probe_rules: bool,
    spoken: Spoken,
    grpc_services: Sequence[str] = (),
    workload: str | None = None,
    has_clients: bool = False,
) -> str:
    """The sidecar's service file.

    `grace_seconds` is the Pod's terminationGracePeriodSeconds; the drain gets the part that preStop leaves.
    `has_clients`: the Pod is an authorization server, and the files of its clients are mounted. Raises `CannotInject`
    if a setting uses the name of a workload that has none.
    """
    tls = settings.server_certificate
    drain = max(1, grace_seconds - settings.pre_stop_seconds - SECONDS_TO_STOP)
    policies = [f"env:{PROBE_VARIABLE}"] if probe_rules else []
    lines = [
        "listeners:",
        f"  - address: {address(settings, placement.port)}",
        "    tls:",
        f"      certificate_file: {TLS_DIRECTORY}/{tls.certificate_file}",
        f"      private_key_file: {TLS_DIRECTORY}/{tls.private_key_file}",
        "    client_certificate:",
        *(f"      {line}" for line in _client_certificate(settings)),
        *([f"    protocols: [{', '.join(spoken.listener)}]"] if spoken.listener else []),
        "upstream:",
        f"  url: http://{_host(upstream_host)}:{placement.upstream_port}",
        *([f"  protocol: {spoken.upstream}"] if spoken.upstream != HTTP1 else []),
        f"policy_files: [{', '.join([*policies, f'{POLICY_DIRECTORY}/*.yaml'])}]",
        f"health: {{address: {address(settings, settings.health_port)}{_asked(grpc_services)}}}",
        f"admin: {{address: 127.0.0.1:{settings.admin_port}}}",
        f"timeouts: {{drain: {drain}s}}",
        # A subdirectory of the volume, which everybody may write to: the sidecar creates it with mode 0700.
        *([f"state_directory: {STATE_DIRECTORY}/keys"] if settings.keep_issuer_keys else []),
        *_dpop(settings, workload),
        *(_authorization_server(settings, workload) if has_clients else []),
        *(["bypass_check: {refuse_when_bypassable: true}"] if settings.refuse_when_bypassable else []),
    ]
    return "\n".join(lines) + "\n"


def _asked(grpc_services: Sequence[str]) -> str:
    """Services of the API that the health port may check."""
    return f", grpc_services: {json.dumps(list(grpc_services))}" if grpc_services else ""


def _dpop(settings: InjectionSettings, workload: str | None) -> list[str]:
    dpop = settings.dpop
    if dpop is None:
        return []
    urls = [dpop.resource, *dpop.origins]
    resource, *origins = (f'"{_named(url, workload, "dpop.resource or dpop.origins")}"' for url in urls)
    lines = [f"protected_resource: {{resource: {resource}, origins: [{', '.join(origins)}]}}", "dpop:"]
    if dpop.nonce_key_secret is not None:
        lines.append(f"  nonce_key_file: {DPOP_DIRECTORY}/nonce-key")
    if dpop.replay_secret is not None:
        lines.append(f"  replay: {{store: redis, url_file: {DPOP_DIRECTORY}/url}}")
    return lines if len(lines) > 2 else lines[:1]


def _authorization_server(settings: InjectionSettings, workload: str | None) -> list[str]:
    server = settings.authorization_server
    if server is None:
        return []
    section = {**server.settings, "client_files": [f"{CLIENTS_DIRECTORY}/*.yaml"]}
    lines = (f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in section.items())
    return [
        "authorization_server:",
        *(_named(line, workload, "authorization_server.settings") for line in lines),
    ]


def _named(text: str, workload: str | None, asking: str) -> str:
    """`text` with the workload's name for `{name}`.

    The author of a Pod chooses that name (an API server does not check the names of owners): a name with a quotation
    mark would otherwise add settings.
    """
    if "{name}" not in text:
        return text
    if workload is None:
        raise CannotInject(f"the Pod has no name, and {asking} asks for it")
    if not DNS_LABEL.fullmatch(workload):
        raise CannotInject(
            f"the Pod's workload has a name that is not valid in Kubernetes, and {asking} asks for it"
        )
    return text.replace("{name}", workload)


def probe_rules_text(paths: Iterable[str]) -> str:
    """A policy file that permits the kubelet's probes: GET on exactly these paths."""
    lines = ["rules:"]
    for number, path in enumerate(paths, start=1):
        lines += [
            f"  - name: probe-{number}",
            f'    match: {{methods: [GET], path: "{path}"}}',
            "    public: true",
        ]
    return "\n".join(lines) + "\n"


def address(settings: InjectionSettings, port: int) -> str:
    """The address of the sidecar: all addresses of the Pod's families. Quoted, since `*` begins a YAML alias."""
    return f'"{settings.wildcard}:{port}"'


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _client_certificate(settings: InjectionSettings) -> list[str]:
    ca, told, proxy_ca = settings.client_ca, settings.told_certificate, settings.proxy_ca
    source = ["at_handshake: optional"]
    if told is not None:
        source = told.lines(_authority(proxy_ca, PROXY_CA_DIRECTORY) if proxy_ca is not None else "")
    if ca is None:
        return ["trust: any", *source]
    return ["trust: ca", f"ca_file: {_authority(ca, CLIENT_CA_DIRECTORY)}", *source]


def _authority(ca: ClientCa, directory: str) -> str:
    return f"{TLS_DIRECTORY if ca.tls_volume else directory}/{ca.file}"
