"""What the service file says comes out as values, and every mistake in it is named at its place."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from sidecar.proxy.configuration import AtHandshake, Trust
from sidecar.settings import ServerAddress
from sidecar.settings.configuration import AdminAddress
from sidecar.telemetry.configuration import Access, Format, Level
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.pki import Pki

EVERYTHING = """\
listeners:
  - name: outside
    address: "[::1]:8443"
    tls:
      certificate_file: server.crt
      private_key_file: server.key
      minimum_version: "1.3"
      session_lifetime: 10m
    client_certificate: {trust: ca, ca_file: ca.crt, at_handshake: required, close_on_ca_change: true}
    proxy_protocol_from: [10.0.0.0/8]
    forwarded_from: ["fd00::/8"]
    protocols: [h2, http/1.1]
upstream:
  url: https://api.internal
  protocol: h2
  tls: {ca_file: ca.crt, server_name: api, certificate_file: server.crt, private_key_file: server.key}
  connect_timeout: 1s
  response_timeout: 2s
  idle_timeout: 3s
  stream_timeout: 4s
  total_timeout: 5s
  max_connections: 6
  max_waiting: 7
  resolve_interval: 8s
  forward_token: true
  identity_headers: {X-Sub: sub}
policy_files: [policies/*.yaml]
health: {address: 127.0.0.1:9902}
admin: {address: unix:///run/admin.sock}
limits: {target_bytes: 1KiB, header_bytes: 2KiB, headers: 3, body_bytes: 10MiB, memory_bytes: 1GiB}
timeouts: {handshake: 1s, request_head: 2s, idle: 3s, drain: 4s, expiry_grace: 250ms}
logging: {format: text, access: sampled, level: debug, sample: 10, file: log/access.log, buffered_bytes: 1MiB}
tracing: {endpoint: "http://127.0.0.1:4318", sample_ratio: 0.5, attributes: {a: b}}
workers: auto
state_directory: state
process: {run_as: "1000:1000", open_files: 4096, watch_files: false}
bypass_check: {enabled: false, interval: 5m, refuse_when_bypassable: true}
protected_resource: {resource: https://api.example.com, serve: false}
realm: accounts
disclose_reasons: false
problem_types: "https://docs.example.com/#"
strip_headers: [X-Employee]
insecure_keep_headers: [X-Forwarded-User]
insecure_keep_headers_with_underscores: true
"""


@pytest.fixture
def whole(configuration: Configuration, pki: Pki) -> Configuration:
    """A service file that says everything."""
    (configuration.folder / "ca.crt").write_bytes(pki.client_authority.pem)
    configuration.write_service(EVERYTHING)
    return configuration


def test_everything_that_a_service_file_can_say_arrives(whole: Configuration) -> None:
    loaded = whole.load()
    listener = loaded.proxy.listeners[0]
    assert (listener.name, listener.host, listener.port) == ("outside", "::1", 8443)
    assert listener.tls is not None
    assert listener.tls.trust is Trust.CA
    assert listener.tls.at_handshake is AtHandshake.REQUIRED
    assert listener.tls.ca_file == whole.folder / "ca.crt"
    assert (listener.tls.minimum_version, listener.tls.session_lifetime) == ("1.3", 600)
    assert listener.tls.close_on_ca_change
    assert listener.proxy_protocol_from == (ip_network("10.0.0.0/8"),)
    assert listener.forwarded_from == (ip_network("fd00::/8"),)
    assert listener.protocols == ("h2", "http/1.1")
    upstream = loaded.proxy.upstream
    assert (upstream.scheme, upstream.host, upstream.port) == ("https", "api.internal", 443)
    assert upstream.tls.server_name == "api"
    assert upstream.protocol == "h2"
    times = (upstream.connect_timeout, upstream.response_timeout, upstream.idle_timeout)
    assert times == (1, 2, 3)
    assert (upstream.stream_timeout, upstream.total_timeout, upstream.resolve_interval) == (4, 5, 8)
    assert (upstream.max_connections, upstream.max_waiting, upstream.forward_token) == (6, 7, True)
    assert dict(upstream.identity_headers) == {"X-Sub": "sub"}
    limits = loaded.proxy.limits
    assert (limits.target_bytes, limits.header_bytes, limits.headers) == (1024, 2048, 3)
    assert (limits.body_bytes, limits.memory_bytes, limits.connections) == (10 << 20, 1 << 30, 3000)
    timeouts = loaded.proxy.timeouts
    assert (timeouts.handshake, timeouts.request_head, timeouts.idle) == (1, 2, 3)
    assert (timeouts.drain, timeouts.expiry_grace) == (4, 0.25)
    assert loaded.proxy.realm == "accounts"
    assert not loaded.proxy.disclose_reasons
    assert loaded.proxy.wording(None).problem_types == "https://docs.example.com/#"
    assert loaded.proxy.keep_headers_with_underscores


def test_everything_about_the_process_arrives(whole: Configuration) -> None:
    loaded = whole.load()
    service = loaded.service
    assert service.health == ServerAddress("127.0.0.1", 9902)
    assert service.admin == AdminAddress("", 0, "/run/admin.sock")
    logging = service.logging
    assert (logging.format, logging.access, logging.level) == (Format.TEXT, Access.SAMPLED, Level.DEBUG)
    assert (logging.sample, logging.file) == (10, whole.folder / "log/access.log")
    assert service.tracing.endpoint == "http://127.0.0.1:4318"
    assert (service.tracing.sample_ratio, dict(service.tracing.attributes)) == (0.5, {"a": "b"})
    assert service.workers == 0
    assert service.state_directory == loaded.issuers.state_directory == whole.folder / "state"
    assert (service.hardening.run_as, service.hardening.open_files) == ("1000:1000", 4096)
    assert not service.watch_files
    assert (service.bypass.enabled, service.bypass.interval, service.bypass.refuse_when_bypassable) == (
        False,
        300,
        True,
    )
    assert service.protected_resource is not None
    assert not service.protected_resource.serve


def test_files_that_were_read_are_named_and_files_to_be_written_are_not(whole: Configuration) -> None:
    names = {path.name for path in whole.load().files}
    assert names == {"sidecar.yaml", "policy.yaml", "server.crt", "server.key", "ca.crt"}


def test_dangerous_settings_are_listed_for_the_log(whole: Configuration) -> None:
    named, danger = whole.load().dangers
    assert named.message == "`insecure_keep_headers` is on: `X-Forwarded-User`"
    assert danger.message == "`insecure_keep_headers_with_underscores` is on"
    assert danger.line == len(EVERYTHING.splitlines())


def test_headers_to_strip_and_to_keep_arrive(whole: Configuration) -> None:
    proxy = whole.load().proxy
    assert (set(proxy.strip_headers), set(proxy.keep_headers)) == ({"X-Employee"}, {"X-Forwarded-User"})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("insecure_keep_headers: [X-Plain]", "`X-Plain` is forwarded anyway"),
        (
            "strip_headers: [Remote-User]\ninsecure_keep_headers: [remote-user]",
            "`remote-user` is in `strip_headers` too",
        ),
        ("strip_headers: [a_b]", "a header name of letters, digits and hyphens"),
    ],
)
def test_headers_that_cannot_be_kept_or_stripped_are_mistakes(
    configuration: Configuration, said: str, message: str
) -> None:
    configuration.write_service(SERVICE + said + "\n")
    assert any(message in problem.message for problem in configuration.problems())


def test_header_that_is_our_own_is_kept_from_nobody(configuration: Configuration) -> None:
    text = SERVICE.replace(
        '"http://127.0.0.1:8080"', '"http://127.0.0.1:8080", identity_headers: {X-Remote-User: sub}'
    )
    configuration.write_service(text + "insecure_keep_headers: [X-Remote-User]\n")
    (problem,) = configuration.problems()
    assert "is an identity header of `upstream`" in problem.message


def test_method_overrides_are_refused_where_a_rule_names_methods(configuration: Configuration) -> None:
    for methods, refused in (("", False), (", methods: [GET]", True)):
        rules = f"  - {{name: a, match: {{path: /a}}}}\n  - {{name: b, match: {{path: /b{methods}}}}}\n"
        configuration.write_policy(f"{ISSUER}rules:\n{rules}")
        assert configuration.load().proxy.refuse_method_overrides is refused


def test_a_unix_socket_upstream_and_a_default_port(configuration: Configuration) -> None:
    configuration.write_service(SERVICE.replace("http://127.0.0.1:8080", "unix:///run/api.sock"))
    upstream = configuration.load().proxy.upstream
    assert (upstream.scheme, upstream.host, upstream.port, upstream.path) == ("unix", "", 0, "/run/api.sock")
    configuration.write_service(SERVICE.replace(":8080", ""))
    assert configuration.load().proxy.upstream.port == 80


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("helth: {address: 127.0.0.1:1}", "6:1: unknown key `helth`; did you mean `health`?"),
        ("limits: {header_bites: 1KiB}", "6:10: unknown key `header_bites`; did you mean `header_bytes`?"),
        ("timeouts: {idle: 75}", "6:18: a duration needs a unit: 75s? (ms, s, m, h, d)"),
        ("limits: {headers: many}", "6:19: expected a whole number, got `many`"),
        ('limits: {headers: "100"}', "6:19: expected a whole number, got `100`: take the quotes off"),
        ('disclose_reasons: "true"', "6:19: expected true or false, got `true`: take the quotes off"),
        ("limits: {headers: 1.5}", "6:19: expected a whole number, got 1.5"),
        ("limits: {headers: true}", "6:19: expected a whole number, got true"),
        ("limits: {headers: 0}", "6:19: input should be greater than or equal to 1, got 0"),
        (
            "limits: {body_bytes: 10MB}",
            "6:22: a size is a number of bytes or has a unit: 512B, 32KiB, 10MiB, 1GiB",
        ),
        ("logging: {access: some}", "6:19: expected one of all, denied, sampled, got `some`"),
        (
            "logging: {level: warn}",
            "6:18: expected one of debug, info, warning, error, got `warn`; did you mean `warning`?",
        ),
        (
            "logging: {access: denied, audit: required}",
            "6:27: `audit: required` needs a line for each request, `access: denied` leaves some out",
        ),
        (
            "logging: {access: sampled, audit: required}",
            "6:28: `audit: required` needs a line for each request, `access: sampled` leaves some out",
        ),
        (
            "logging: {audit: required, buffered_bytes: 32KiB}",
            "6:28: `audit: required` needs room for some records: at least 64KiB",
        ),
        ("limits: {buffered_bytes: 2GiB}", "6:10: `buffered_bytes` has to be more than 0 and less than 2GiB"),
        ("limits: {buffered_bytes: 0}", "6:10: `buffered_bytes` has to be more than 0 and less than 2GiB"),
        ("logging: {audit: always}", "6:18: expected one of best_effort, required, got `always`"),
        ("logging: []", "6:10: expected a mapping of keys to values, got a list"),
        (
            "health: {address: 9902}",
            "6:19: an address is written 0.0.0.0:8443, [::]:8443 or *:8443 (all of IPv4 and IPv6)",
        ),
        ("health: {}", "6:1: missing key `address`"),
        (
            'health: {address: "127.0.0.1:9902", grpc_services: [""]}',
            "6:1: `grpc_services` are asked over HTTP/2: `upstream` needs `protocol: h2`",
        ),
        (
            'health: {address: "127.0.0.1:9902", grpc_services: ["/orders"]}',
            "6:53: `/orders` is not the name of a gRPC service: orders.v1.Orders",
        ),
        (
            "admin: {address: 0.0.0.0:9901}",
            "6:18: `0.0.0.0:9901` is not loopback: 127.0.0.1:port, [::1]:port or unix:///path",
        ),
        (
            "admin: {address: example.com:9901}",
            "6:18: `example.com:9901` is not loopback: 127.0.0.1:port, [::1]:port or unix:///path",
        ),
        ("admin: {address: 127.0.0.1:8443}", "6:1: the address of `admin` is taken"),
        ("tracing: {endpoint: 127.0.0.1}", "6:21: `127.0.0.1` is not an http:// or https:// URL"),
        ("disclose_reasons: maybe", "6:19: expected true or false, got `maybe`"),
        (
            "problem_types: docs/troubleshooting.md#",
            (
                "6:16: `docs/troubleshooting.md#` is not the beginning of a URI, such as "
                "https://docs.example.com/troubleshooting#"
            ),
        ),
        ("realm: 5", "6:8: expected text, got 5: put it in quotes"),
        ("process: {run_as: a:b:c}", "6:19: `a:b:c` is not of the form user or user:group"),
        ("realm: 'a\"b'", '6:8: `a"b` is not printable ASCII without quotes and backslashes'),
    ],
)
def test_a_mistake_in_the_service_file_is_named_at_its_place(
    configuration: Configuration, wrong: str, expected: str
) -> None:
    configuration.write_service(f"{SERVICE}{wrong}\n")
    assert configuration.said() == [expected]


@pytest.mark.parametrize("workers", ["0", "1.5", "many", "-1", "500"])
def test_workers_are_a_number_or_auto(configuration: Configuration, workers: str) -> None:
    configuration.write_service(f"{SERVICE}workers: {workers}\n")
    (said,) = configuration.said()
    assert said.startswith("6:10: expected a whole number from 1 to 256, or `auto`, got ")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("address: 127.0.0.1:8443", "address: 127.0.0.1:99999", "2:14: 99999 is not a port"),
        (
            "address: 127.0.0.1:8443",
            "adress: 127.0.0.1:8443",
            "2:5: unknown key `adress`; did you mean `address`?",
        ),
        (
            "http://127.0.0.1:8080",
            "ftp://x",
            "4:17: `ftp://x` is not http://host:port, https://host:port or unix:///path",
        ),
        (
            "http://127.0.0.1:8080",
            "http://x:80/api",
            "4:17: only scheme, host and port: paths are forwarded unchanged",
        ),
        (
            "http://127.0.0.1:8080",
            "http://u:p@x",
            "4:17: only scheme, host and port: paths are forwarded unchanged",
        ),
        ("http://127.0.0.1:8080", "unix://run/api", "4:17: a Unix socket is written unix:///run/api.sock"),
        (
            "http://127.0.0.1:8080",
            "http://[::1",
            "4:17: `http://[::1` is not a URL: write http://host:port or unix:///path",
        ),
        ('8080"', '8080", tls: {server_name: a}', "4:42: `tls` has no effect without an https:// URL"),
        ('8080"', '8080", identity_headers: {Host: sub}', "4:60: `Host` cannot carry a claim"),
        (
            '8080"',
            '8080", identity_headers: {X-A: sub, x-a: iss}',
            "4:60: `x-a` and `X-A` are the same header",
        ),
        ("policies/*.yaml", "nowhere/*.yaml", "5:16: no policy file matches `nowhere/*.yaml`"),
        ("[policies/*.yaml]", "[]", "5:15: must not be empty"),
        ("[policies/*.yaml]", "policies", "5:15: expected a list, got `policies`: write [policies]"),
    ],
)
def test_a_mistake_in_what_is_required_is_named_at_its_place(
    configuration: Configuration, old: str, new: str, expected: str
) -> None:
    assert old in SERVICE
    configuration.write_service(SERVICE.replace(old, new))
    assert expected in configuration.said()


def test_a_version_number_without_quotes_is_told_to_take_them(configuration: Configuration) -> None:
    configuration.write_service(SERVICE.replace("server.key}", "server.key, minimum_version: 1.2}"))
    assert configuration.said() == ["3:88: expected text, got 1.2: put it in quotes"]


def test_two_listeners_share_neither_address_nor_name(configuration: Configuration) -> None:
    tls = "tls: {certificate_file: server.crt, private_key_file: server.key}"
    one = f"  - {{address: 127.0.0.1:1, {tls}}}\n"
    configuration.write_service(SERVICE.replace("upstream", f"{one * 2}upstream", 1))
    assert [line.partition(" ")[2] for line in configuration.said()] == ["two listeners on 127.0.0.1:1"]
    named = "".join(f"  - {{name: a, address: 127.0.0.1:{port}, {tls}}}\n" for port in (1, 2))
    configuration.write_service(SERVICE.replace("upstream", f"{named}upstream", 1))
    assert [line.partition(" ")[2] for line in configuration.said()] == ["two listeners with the same name"]


def test_paths_are_relative_to_the_file_that_names_them(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(configuration.folder.parent)
    relative = Path(configuration.folder.name) / "sidecar.yaml"
    assert (
        Configuration(relative.parent).load().proxy.listeners[0].own_files[0]
        == relative.parent / "server.crt"
    )


def test_names_in_the_environment_are_never_expanded(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM", "secret")
    configuration.write_service(f"{SERVICE}realm: ${{REALM}}\n")
    assert configuration.load().proxy.realm == "${REALM}"


def test_a_trust_that_does_nothing_is_a_mistake(configuration: Configuration) -> None:
    for said, expected in (
        ("{ca_file: server.crt}", "`ca_file` has no effect without `trust: ca`"),
        ("{trust: ca}", "`trust: ca` needs a `ca_file`"),
        ("{trust: cas}", "expected one of any, ca, got `cas`; did you mean `ca`?"),
    ):
        configuration.write_service(
            SERVICE.replace("upstream", f"    client_certificate: {said}\nupstream", 1)
        )
        assert [one.message for one in configuration.problems()] == [expected]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("[]", "must not be empty"),
        ("[h2, h2]", "a protocol is listed twice"),
        ("[h3]", "expected one of h2, http/1.1, got `h3`"),
    ],
)
def test_protocols_that_cannot_be_offered_are_named(
    configuration: Configuration, said: str, message: str
) -> None:
    configuration.write_service(SERVICE.replace("upstream:", f"    protocols: {said}\nupstream:", 1))
    assert message in str(configuration.problems())
