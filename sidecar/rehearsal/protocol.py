"""The protocol of a hypothetical request, and the form of a gRPC call in it."""

import re
from typing import Final

from sidecar.decision.denial import Reason
from sidecar.http import grpc
from sidecar.http.http2_request import Http2Request, read_request
from sidecar.http.message import Field
from sidecar.proxy.configuration import HTTP1, HTTP2, Limits, ListenerSettings

_CALL: Final = re.compile(r"/?([A-Za-z0-9_.]+)/([A-Za-z0-9_]+)")
UNSPOKEN: Final = Reason.GRPC_UNSUPPORTED
"""Why a permitted call is refused if the API is reached over HTTP/1.1."""


def call_target(text: str) -> str:
    """The path of `package.Service/Method`. Raises `ValueError`."""
    found = _CALL.fullmatch(text)
    if found is None:
        raise ValueError("not a service and its method: bank.v1.Accounts/Get")
    return f"/{found[1]}/{found[2]}"


def chosen(said: str, listener: ListenerSettings, *, is_call: bool) -> str:
    """The protocol used on a listener if `said` was requested, which may be empty. Raises `ValueError`."""
    offered = listener.protocols
    usual = HTTP2 if is_call or HTTP1 not in offered else HTTP1
    protocol = said or usual
    if is_call and protocol != HTTP2:
        raise ValueError(f"{protocol} has no gRPC calls: use h2")
    if protocol not in offered:
        listed = ", ".join(offered)
        raise ValueError(
            f"{protocol} is not offered by the listener {listener.name}: `protocols: [{listed}]`"
        )
    return protocol


def with_call_fields(fields: list[Field]) -> list[Field]:
    """The fields, and the required fields of a gRPC call that are missing."""
    there = {name.lower() for name, _ in fields}
    return fields + [field for field in grpc.CALL_FIELDS if field[0] not in there]


def read_http2(method: str, target: str, fields: tuple[Field, ...], limits: Limits) -> Http2Request:
    """A request as the data plane reads it from HTTP/2; clients send names in lower case, and Host as :authority."""
    regular = [(name.lower(), value) for name, value in fields]
    hosts = [value for name, value in regular if name == b"host"]
    pseudo: list[Field] = [(b":method", method.encode())]
    if method != "CONNECT":
        pseudo += [(b":scheme", b"https"), (b":path", target.encode())]
    if len(hosts) == 1:
        pseudo.append((b":authority", hosts[0]))
        regular = [field for field in regular if field[0] != b"host"]
    is_call = any(name == b"content-type" and grpc.is_call(value) for name, value in regular)
    return read_request(
        (*pseudo, *regular),
        ends=not is_call and not any(name == b"content-length" for name, _ in regular),
        target_bytes=limits.target_bytes,
        header_bytes=limits.header_bytes,
        headers=limits.headers,
    )
