"""The benchmark's options, templates and material."""

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.loads import LOADS, Window
from bench.material import AUDIENCE, ISSUER, Material, bare_jwks, make_material
from bench.options import SECTIONS, read_options
from bench.peers import PEERS, missing
from bench.peers.policy import policy, service
from bench.peers.site import Site
from bench.template import TemplateError, fill
from sidecar.settings.loading import load

PEER_NAMES = {
    "sidecar",
    "sidecar-asyncio",
    "nginx-tls-only",
    "haproxy",
    "apache-mod_oauth2",
    "envoy",
    "envoy-cached",
    "sidecar-http1",
    "aiohttp-proxy",
}
LOAD_NAMES = {
    "cached-es256",
    "cached-rs256",
    "many-tokens",
    "new-tokens",
    "handshake-full",
    "handshake-resumed",
    "denied",
    "download",
    "upload",
    "idle-connections",
    "latency",
    "introspection",
    "dpop-es256",
}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


def test_template_fills_every_place() -> None:
    assert fill("listen @PORT@; root @DIR@;", {"PORT": 8443, "DIR": "d"}) == "listen 8443; root d;"


def test_template_with_a_place_left_over_is_refused() -> None:
    with pytest.raises(TemplateError, match="no value for PORT"):
        fill("listen @PORT@; root @DIR@;", {"DIR": "d"})


def test_template_leaves_type_urls_alone() -> None:
    assert fill('"@type": "x"', {}) == '"@type": "x"'


def test_promised_peers_and_loads_exist() -> None:
    assert set(PEERS) >= PEER_NAMES
    assert {*LOADS, *SECTIONS} >= LOAD_NAMES


def test_options_keep_the_tables_order_whatever_was_typed() -> None:
    options = read_options(["--loads", "denied,cached-es256", "--peers", "haproxy,sidecar", "--seconds", "1"])
    assert options.loads == ("cached-es256", "denied")
    assert options.peers == ("sidecar", "haproxy")
    assert options.sections == ()
    assert options.warmup == 0.4


def test_options_left_empty_mean_everything() -> None:
    options = read_options(["--loads", "", "--peers", ""])
    assert options.loads == tuple(LOADS)
    assert options.peers == tuple(PEERS)
    assert "growth" in options.sections


def test_unknown_load_is_a_usage_error_that_lists_the_loads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        read_options(["--loads", "cached"])
    assert left.value.code == 2
    assert "cached-es256" in capsys.readouterr().err


def test_no_rounds_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as left:
        read_options(["--rounds", "0"])
    assert left.value.code == 2


def test_missing_programs_are_named_with_their_packages() -> None:
    absent = PEERS["haproxy"].__class__("absent", ("a-package",), ("/nowhere/program",), lambda _: [])
    bare = PEERS["haproxy"].__class__("bare", (), ("/nowhere/tool",), lambda _: [])
    packages, programs = missing([absent, bare])
    assert "a-package" in packages
    assert programs == ["/nowhere/tool"]


@pytest.mark.parametrize("algorithm", ["es256", "rs256"])
def test_token_is_what_an_issuer_would_mint(material: Material, algorithm: str) -> None:
    token: str = getattr(material, algorithm)(7)
    keys = {
        key["kid"]: jwt.PyJWK(key)
        for key in json.loads((material.directory / "jwks.json").read_text())["keys"]
    }
    header = jwt.get_unverified_header(token)
    key = keys[header["kid"]]
    claims = jwt.decode(token, key, algorithms=[header["alg"]], audience=AUDIENCE, issuer=ISSUER)
    client = x509.load_pem_x509_certificate((material.directory / "client.crt").read_bytes())
    digest = hashlib.sha256(client.public_bytes(Encoding.DER)).digest()
    assert header["typ"] == "at+jwt"
    assert claims["cnf"]["x5t#S256"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert claims["sub"] == "user-7"


def test_bare_keys_carry_no_hints(material: Material) -> None:
    assert [set(json.loads(key)) for key in bare_jwks(material.directory)] == [
        {"kty", "crv", "x", "y"},
        {"kty", "n", "e"},
    ]


def test_new_tokens_of_two_rounds_do_not_overlap(material: Material) -> None:
    first, second = (LOADS["new-tokens"].drive(material, Window(0.01, 0.0, n), 2).options for n in (0, 1))
    assert int(first["first"]) + int(first["limit"]) == int(second["first"])
    assert len(set((material.directory / "new.tokens").read_text().split())) == 2 * int(first["limit"])


def test_denied_load_presents_another_certificate_and_expects_401(material: Material) -> None:
    drive = LOADS["denied"].drive(material, Window(1, 0), 1)
    assert drive.other_certificate
    assert drive.options["expect"] == 401


@pytest.fixture
def site(material: Material, tmp_path: Path) -> Site:
    return Site(tmp_path, tmp_path, material, port=8443, admin=9902, upstream=8080)


def test_policy_has_exactly_the_rules_asked_for_and_the_used_ones_last(site: Site) -> None:
    names = [rule["name"] for rule in yaml.safe_load(policy(site))["rules"]]
    assert len(names) == 20
    assert names[-4:] == ["call", "upload", "download", "accounts"]


def test_service_file_keeps_the_access_log_on(site: Site) -> None:
    document = yaml.safe_load(service(site))
    assert document["logging"]["access"] == "all"
    assert document["listeners"][0]["client_certificate"]["trust"] == "any"


@pytest.mark.parametrize(
    ("rules", "introspection", "dpop"),
    [(20, 0, False), (20, 8081, False), (1000, 0, False), (20, 0, True)],
)
def test_sidecar_accepts_the_configuration_it_is_measured_with(
    site: Site, rules: int, introspection: int, *, dpop: bool
) -> None:
    changed = replace(site, rules=rules, introspection=introspection, dpop=dpop, cached_tokens=200_000)
    PEERS["sidecar"].command(changed)
    assert len(load(site.run / "sidecar.yaml").policy.rules) == changed.rules


@pytest.mark.parametrize("dpop", [False, True])
@pytest.mark.parametrize("name", sorted(PEERS))
def test_every_place_of_every_peers_templates_has_a_value(site: Site, name: str, *, dpop: bool) -> None:
    command = PEERS[name].command(replace(site, introspection=8081, dpop=dpop))
    assert command[0] in PEERS[name].needs


def test_http1_beside_http2_is_asked_for_the_loads_of_http2_alone() -> None:
    twin = PEERS["sidecar-http1"]
    assert {name for name, load in LOADS.items() if load.takes(twin)} == {"http2-1x32", "http2-32x8"}
    assert "sidecar-http1" not in read_options([]).proxies


@pytest.mark.parametrize("grpc", [False, True])
def test_sidecar_accepts_what_the_loads_of_http2_need(site: Site, grpc: bool) -> None:
    PEERS["sidecar"].command(replace(site, http2=True, grpc=grpc))
    loaded = load(site.run / "sidecar.yaml")
    assert loaded.proxy.listeners[0].protocols == ("h2", "http/1.1")
    assert loaded.proxy.upstream.protocol == ("h2" if grpc else "http/1.1")


@pytest.mark.parametrize("grpc", [False, True])
def test_envoy_speaks_http2_to_an_api_of_grpc(site: Site, grpc: bool) -> None:
    PEERS["envoy-cached"].command(replace(site, grpc=grpc))
    (cluster,) = json.loads((site.run / "envoy.json").read_text())["static_resources"]["clusters"]
    assert ("typed_extension_protocol_options" in cluster) is grpc
