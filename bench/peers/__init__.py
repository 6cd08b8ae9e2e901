"""The peers: for each, the files it reads, the command that starts it, and what it can be asked to do."""

import base64
import grp
import json
import os
import pwd
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.material import bare_jwks
from bench.peers.policy import CALL, policy, service, write_secret
from bench.peers.site import Site
from bench.shipped import PYTHON

_HERE = Path(__file__).parent
_NGINX_MODULES = Path("/usr/lib/nginx/modules")
_APACHE_MODULES = Path("/usr/lib/apache2/modules")
_BODY_BYTES = 180
GRPC_MESSAGE = b"\0\0\0\0\x64" + b"x" * 100
"""A message with its prefix, as a client and the API send it."""
_APACHE_DPOP = "dpop&dpop.expiry=90&dpop.iat.slack.before=60&dpop.iat.slack.after=30"  # the sidecar's window
# `htu` is held against scheme, `Host` and the port that was accepted on, unless this field says whose port it is
_APACHE_PROOFS = """OAuth2AcceptTokenIn header name=Authorization&type=DPoP
 RequestHeader set X-Forwarded-Proto https early"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy that does the job (or, `checks=False`, only the TLS part of it)."""

    name: str
    packages: tuple[str, ...]
    needs: tuple[str, ...]  # programs and files that must exist
    command: Callable[[Site], list[str]]
    checks: bool = True
    introspects: bool = False
    proves: bool = False  # verifies DPoP proofs
    http2: bool = False
    """Can be asked for a load of HTTP/2."""
    over_http1: bool = False
    """Is asked for those loads alone, and over HTTP/1.1: what the others are compared with."""
    environment: Mapping[str, str] = field(default_factory=dict)


def upstream(site: Site, sink_port: int) -> list[str]:
    """The unmodified API: nginx with 180 bytes of JSON, files, and a sink for uploads."""
    pad = _BODY_BYTES - len('{"ok":true,"items":[1,2,3,4,5,6,7,8,9,10],"pad":""}')
    return _nginx(
        site.write(
            "upstream.conf.in", "nginx.conf", {"PAD": "x" * pad, "SINK": sink_port, "ISSUED": _issued(site)}
        )
    )


def _issued(site: Site) -> str:
    """A token response (RFC 6749 §5.1), whose token is bound to the client's certificate."""
    return json.dumps({"access_token": site.material.es256(), "token_type": "Bearer", "expires_in": 300})


def introspection(site: Site) -> list[str]:
    """An issuer that answers each introspection request after 5 ms (RFC 7662)."""
    return _fixed_answer(site, 0.005, {"active": True, **site.material.claims(0)})


def sink(site: Site) -> list[str]:
    """The part of the API that takes uploads."""
    return _fixed_answer(site, 0, {"ok": True})


def grpc_api(site: Site) -> list[str]:
    """An API that answers a unary call with a message of 100 bytes and `grpc-status: 0`."""
    answer = site.run / CALL.lstrip("/")
    answer.parent.mkdir(exist_ok=True)
    answer.write_bytes(GRPC_MESSAGE)
    options = ["--no-tls", "--address=127.0.0.1", "--workers=1", "--trailer=grpc-status: 0"]
    return ["/usr/sbin/nghttpd", *options, f"--htdocs={site.run}", str(site.port)]


def _fixed_answer(site: Site, delay: float, answer: dict[str, object]) -> list[str]:
    document = site.run / "answer.json"
    document.write_text(json.dumps(answer))
    return [sys.executable, str(_HERE / "fixed_answer.py"), str(site.port), str(delay), str(document)]


def _nginx(configuration: str) -> list[str]:
    return ["/usr/sbin/nginx", "-e", "stderr", "-c", configuration]


def _nginx_tls_only(site: Site) -> list[str]:
    return _nginx(site.write("nginx-tls-only.conf.in", "nginx.conf"))


def _nginx_njs(site: Site) -> list[str]:
    spki = {
        f"{kind.upper()}_SPKI": _pem_body(site.material.directory / f"{kind}.pub") for kind in ("es", "rs")
    }
    site.write("bearer.js.in", "bearer.js", spki)
    return _nginx(site.write("nginx-njs.conf.in", "nginx.conf", {"MODULES": str(_NGINX_MODULES)}))


def _haproxy(site: Site) -> list[str]:
    return ["/usr/sbin/haproxy", "-db", "-f", site.write("haproxy.cfg.in", "haproxy.cfg")]


def _apache(site: Site) -> list[str]:
    # `verify.cert` is what type=mtls compares; a JWK is a quoted JSON string, one line a key
    keys = [json.dumps(key) for key in bare_jwks(site.material.directory)]
    kind = _APACHE_DPOP if site.dpop else "mtls"
    verify = [f"OAuth2TokenVerify jwk {key} type={kind}&verify.exp=required&verify.iat=skip" for key in keys]
    if site.introspection:
        url = f"http://127.0.0.1:{site.introspection}/introspect"
        verify = [f"OAuth2TokenVerify introspect {url} introspect.auth=none&type=mtls&verify.iat=skip"]
    extra = {"MODULES": str(_APACHE_MODULES), "VERIFY": "\n  ".join(verify)}
    extra["PROOFS"] = _APACHE_PROOFS if site.dpop else ""
    if os.getuid() == 0:  # Apache refuses to work as root
        nobody = pwd.getpwnam("nobody")
        extra |= {"USER": nobody.pw_name, "GROUP": grp.getgrgid(nobody.pw_gid).gr_name}
    return [
        "/usr/sbin/apache2",
        "-DFOREGROUND",
        "-f",
        site.write("apache-mod_oauth2.conf.in", "apache.conf", extra),
    ]


def _envoy(cache: str) -> Callable[[Site], list[str]]:
    def command(site: Site) -> list[str]:
        values = {"CACHE": cache, "SPOKEN": _ENVOY_GRPC if site.grpc else ""}
        configuration = site.write("envoy.json.in", "envoy.json", values)
        quiet = ["--disable-hot-restart", "--log-level", "warning"]
        return [_beside_python("envoy"), "-c", configuration, "--concurrency", "1", *quiet]

    return command


def _aiohttp(site: Site) -> list[str]:
    issuer = f"http://127.0.0.1:{site.introspection}/introspect" if site.introspection else ""
    arguments = [str(site.port), str(site.upstream), str(site.material.directory), issuer]
    return [sys.executable, str(_HERE / "aiohttp_proxy.py"), *arguments]


def _sidecar(site: Site) -> list[str]:
    return sidecar(site, {})


def sidecar(site: Site, more: Mapping[str, object]) -> list[str]:
    """The sidecar, with `more` sections in its service file."""
    write_secret(site)
    (site.run / "sidecar.yaml").write_text(service(site, more))
    (site.run / "policy.yaml").write_text(policy(site))
    return [str(PYTHON), "-P", "-m", "sidecar", "run", "--config", str(site.run / "sidecar.yaml")]


def _beside_python(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


def _pem_body(path: Path) -> str:
    body = "".join(line for line in path.read_text().splitlines() if not line.startswith("-----"))
    base64.b64decode(body, validate=True)
    return body


_ENVOY = _beside_python("envoy")
_SIDECAR = (str(PYTHON),)
_SOURCE = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
"""The same interpreter, and the package as its source instead of the one that is installed there."""
_ENVOY_GRPC = """
    "typed_extension_protocol_options": {
     "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      "explicit_http_config": {"http2_protocol_options": {}}
     }
    },"""
_MOD_OAUTH2 = ("/usr/sbin/apache2", str(_APACHE_MODULES / "mod_oauth2.so"))
_CACHE = ', "jwt_cache_config": {"jwt_cache_size": 100000}'  # as many as the sidecar remembers

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("sidecar", (), _SIDECAR, _sidecar, introspects=True, proves=True, http2=True),
        Peer("sidecar-http1", (), _SIDECAR, _sidecar, http2=True, over_http1=True),
        Peer(
            "sidecar-asyncio",
            (),
            _SIDECAR,
            _sidecar,
            introspects=True,
            proves=True,
            environment={"SIDECAR_LOOP": "asyncio"},
        ),
        Peer(
            "sidecar-interpreted",
            (),
            _SIDECAR,
            _sidecar,
            introspects=True,
            proves=True,
            environment=_SOURCE,
        ),
        Peer("nginx-tls-only", ("nginx",), ("/usr/sbin/nginx",), _nginx_tls_only, checks=False),
        Peer(
            "nginx-njs",
            ("nginx", "libnginx-mod-http-js"),
            ("/usr/sbin/nginx", str(_NGINX_MODULES / "ngx_http_js_module.so")),
            _nginx_njs,
        ),
        Peer("haproxy", ("haproxy",), ("/usr/sbin/haproxy",), _haproxy),
        Peer(
            "apache-mod_oauth2",
            ("apache2", "libapache2-mod-oauth2"),
            _MOD_OAUTH2,
            _apache,
            introspects=True,
            proves=True,
        ),
        Peer("envoy", (), (_ENVOY,), _envoy("")),
        Peer("envoy-cached", (), (_ENVOY,), _envoy(_CACHE), http2=True),
        Peer("aiohttp-proxy", (), (sys.executable,), _aiohttp, introspects=True),
    )
}


def missing(peers: list[Peer]) -> tuple[list[str], list[str]]:
    """What is not there: Debian packages to install, and programs that come with no package of ours."""
    programs = {"wrk": "wrk", "gcc": "gcc", "taskset": "util-linux"}
    if any(peer.http2 for peer in peers):
        programs |= {"h2load": "nghttp2-client", "/usr/sbin/nghttpd": "nghttp2-server"}
    packages = {package for program, package in programs.items() if not shutil.which(program)}
    if not Path("/usr/sbin/nginx").exists():
        packages.add("nginx")
    if not Path("/usr/include/openssl/ssl.h").exists():
        packages.add("libssl-dev")
    others: set[str] = set()
    for peer in peers:
        absent = [need for need in peer.needs if not Path(need).exists()]
        packages.update(peer.packages if absent else ())
        others.update(absent if not peer.packages else ())
    return sorted(packages), sorted(others)
