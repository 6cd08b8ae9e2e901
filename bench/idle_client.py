"""Holds idle connections of HTTP/1.1 or HTTP/2, each of which made one request.

`python -m bench.idle_client PORT CERTIFICATE TOKENS PROTOCOL COUNT`: prints "ready", and holds them until a line comes.
"""

import resource
import socket
import ssl
import sys
from pathlib import Path

from tests.support import http2_frames

_PATH = "/accounts/1"


def asked(protocol: str, token: str) -> bytes:
    """What a client sends: one request."""
    bearer = b"Bearer " + token.encode()
    if protocol == "http/1.1":
        return b"GET %b HTTP/1.1\r\nHost: api\r\nAuthorization: %b\r\n\r\n" % (_PATH.encode(), bearer)
    fields = http2_frames.request(_PATH, "GET", (b"authorization", bearer))
    return http2_frames.OPENING + http2_frames.asked(fields)


def opened(context: ssl.SSLContext, port: int, request_bytes: bytes) -> ssl.SSLSocket:
    """A connection whose request was answered. The API's content ends with padding, in a brace."""
    plain = socket.create_connection(("127.0.0.1", port), 30)
    wire = context.wrap_socket(plain, server_hostname="localhost")
    wire.sendall(request_bytes)
    answer = b""
    while b'x"}' not in answer:
        data = wire.recv(65536)
        if not data:
            raise SystemExit(f"the connection ended before its answer: {answer!r}")
        answer += data
    return wire


def main(words: list[str]) -> None:
    """Until a line comes."""
    port, certificate, tokens, protocol, count = words
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate)
    context.set_alpn_protocols([protocol])
    one = asked(protocol, Path(tokens).read_text().split()[0])
    held = [opened(context, int(port), one) for _ in range(int(count))]
    if any(wire.selected_alpn_protocol() != protocol for wire in held):
        raise SystemExit(f"the peer does not speak {protocol}")
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1:])
