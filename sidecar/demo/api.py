"""An ordinary API without OAuth and TLS: `python -m sidecar.demo.api PORT`.

It answers with the header fields that it received, and sends or receives a large body. Its `/token` is an
authorization server without mutual TLS: it binds a token to the certificate in a header field (RFC 9440).
"""

import json
import sys
from base64 import b64decode
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sidecar.decision.strict import base64url_text

_CHUNK = b"x" * 65536


class Api(BaseHTTPRequestHandler):
    """`GET /accounts…` echoes; `GET /download/N` sends N bytes; `POST` counts the received bytes; `GET /healthz` is
    ok.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Echo, or send a download."""
        if self.path.startswith("/download/"):
            self._send_large(int(self.path.rpartition("/")[2]))
        else:
            self._answer({"path": self.path, "headers": dict(self.headers.items())})

    def do_POST(self) -> None:
        """Count the body, or issue a token."""
        if self.path == "/token":
            self._give_token()
            return
        left = received = int(self.headers.get("Content-Length", "0"))
        while left:
            left -= len(self.rfile.read(min(left, len(_CHUNK))))
        self._answer({"received": received})

    def _give_token(self) -> None:
        """Issue a bound token (RFC 8705 §3.1) to any client: the sidecar in front authenticates it."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        field = self.headers.get("Client-Cert", "")
        claims = {}
        if field:
            digest = sha256(b64decode(field.strip(":"))).digest()
            claims["cnf"] = {"x5t#S256": base64url_text(digest)}
        parts = ({"alg": "ES256", "typ": "at+jwt"}, claims)
        token = ".".join(base64url_text(json.dumps(part).encode()) for part in parts) + ".c2lnbmF0dXJl"
        self._answer({"access_token": token, "token_type": "Bearer", "expires_in": 300})

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_large(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        while size:
            step = min(size, len(_CHUNK))
            self.wfile.write(_CHUNK[:step])
            size -= step

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's name
        """Log nothing: the demo prints its own table."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    print(server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)
