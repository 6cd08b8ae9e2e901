"""A raw HTTP/1.1 client: a test sends exact bytes and reads one whole response at a time.

`Wire` is one connection, TLS or plain, blocking, every read under a deadline. It never repairs anything: what does not
parse as RFC 9112 is `BrokenResponse`, a body that ends early is `Truncated`.
"""

import json
import socket
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography import x509

from tests.support.odd_certificates import OddCertificate
from tests.support.pki import Identity, certificate_pem

TIMEOUT = 60.0
"""Seconds any one read or write may take."""

TLS12 = ssl.TLSVersion.TLSv1_2
TLS13 = ssl.TLSVersion.TLSv1_3


class BrokenResponse(Exception):
    """What came is not an HTTP/1.1 response."""


class Truncated(BrokenResponse):
    """The connection ended in the middle of a response; `partial` is the body so far."""

    def __init__(self, partial: bytes) -> None:
        super().__init__(f"connection ended after {len(partial)} bytes of the body")
        self.partial = partial


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it came; header names keep the case they had."""

    version: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    trailers: tuple[tuple[str, str], ...] = ()
    informational: tuple["Response", ...] = field(default=())
    """The 1xx responses before this one."""

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The value of a field that occurs at most once."""
        values = self.all(name)
        if len(values) > 1:
            raise BrokenResponse(f"{name} occurs {len(values)} times: {values}")
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)


def client_context(
    identity: Identity | OddCertificate | None = None,
    trust: x509.Certificate | None = None,
    *,
    minimum: ssl.TLSVersion = TLS12,
    maximum: ssl.TLSVersion = TLS13,
    alpn: Sequence[str] = ("http/1.1",),
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """A client's TLS settings. `trust` is the one CA the server must chain to; without it any server will do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version, context.maximum_version = minimum, maximum
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if trust is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=certificate_pem(trust).decode())
    if identity is not None:
        with tempfile.TemporaryDirectory() as folder:
            files = identity.write(Path(folder), "client")
            context.load_cert_chain(files.certificate, files.private_key)
    return context


def versioned(identity: Identity | None, version: str, **options: Any) -> ssl.SSLContext:
    """As `client_context`, for exactly one version of TLS: `1.2` or `1.3`."""
    only = {"1.2": TLS12, "1.3": TLS13}[version]
    return client_context(identity, minimum=only, maximum=only, **options)


class Wire:
    """One connection to a server on 127.0.0.1, or on a Unix socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT)
        self.sock = sock
        self._buffer = b""
        self._ended = False

    @classmethod
    def plain(cls, port: int | str | Path, source: str | None = None) -> Self:
        """A connection without TLS to a TCP port or, given a path, to a Unix socket."""
        if isinstance(port, int):
            bind = (source, 0) if source else None
            return cls(socket.create_connection(("127.0.0.1", port), TIMEOUT, source_address=bind))
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(port))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    @classmethod
    def tls(
        cls,
        port: int,
        identity: Identity | None = None,
        *,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
        server_name: str | None = "localhost",
        preamble: bytes = b"",
        host: str = "127.0.0.1",
    ) -> Self:
        """A TLS connection, as `identity` if given. Raises `ssl.SSLError` with the alert the server sent.

        Note that in TLS 1.3 a server refuses the client's certificate after the client believes the handshake done:
        the alert then comes with the first read. `preamble` goes out before the handshake (PROXY protocol).
        To resume, pass the `session` of an earlier connection *and* its `context`.
        """
        context = context or client_context(identity)
        sock = socket.create_connection((host, port), TIMEOUT)
        try:
            sock.sendall(preamble)
            return cls(context.wrap_socket(sock, server_hostname=server_name, session=session))
        except BaseException:
            sock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def abort(self) -> None:
        """Ends the TCP connection with a reset, no TLS goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def end(self) -> None:
        """Half-closes: no more will be sent; reading goes on. Not for TLS, whose library cannot."""
        self.sock.shutdown(socket.SHUT_WR)

    @property
    def secure(self) -> ssl.SSLSocket:
        """The TLS socket: version, cipher, session."""
        assert isinstance(self.sock, ssl.SSLSocket)
        return self.sock

    @property
    def session(self) -> ssl.SSLSession | None:
        """What to resume with. In TLS 1.3 it is there only after something was read."""
        return self.secure.session

    # -- bytes ------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_some(self) -> bytes:
        """The next bytes, whatever their number; empty at the end of the stream."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        return self._receive()

    def read_to_end(self) -> bytes:
        """Everything until the peer ends the connection. Raises `TimeoutError` if it does not."""
        chunks = []
        while data := self.read_some():
            chunks.append(data)
        return b"".join(chunks)

    def is_closed_by_peer(self, within: float = TIMEOUT) -> bool:
        """Whether the peer ends the connection, saying nothing more, within that many seconds."""
        self.sock.settimeout(within)
        try:
            return self.read_some() == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        finally:
            self.sock.settimeout(TIMEOUT)

    def _receive(self) -> bytes:
        if self._ended:
            return b""
        try:
            data = self.sock.recv(262144)
        except ssl.SSLEOFError:  # TCP ended without close_notify: an end all the same
            data = b""
        self._ended = not data
        return data

    def _fill(self) -> bool:
        data = self._receive()
        self._buffer += data
        return bool(data)

    def _take(self, size: int, partial: bytes = b"") -> bytes:
        chunks: list[bytes] = []
        wanted = size
        while wanted:
            if not self._buffer and not self._fill():
                raise Truncated(partial + b"".join(chunks))
            chunks.append(self._buffer[:wanted])
            self._buffer = self._buffer[wanted:]
            wanted -= len(chunks[-1])
        return b"".join(chunks)

    def _line(self, partial: bytes = b"") -> bytes:
        while b"\r\n" not in self._buffer:
            if not self._fill():
                raise Truncated(partial + self._buffer)
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    # -- messages ---------------------------------------------------------------------------------

    def request(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        *,
        token: str | None = None,
    ) -> Response:
        """Sends one plain request with Host (unless given) and Content-Length (if there is a body); its response."""
        self.send(request_bytes(method, target, headers, body, token=token))
        return self.response(method)

    def response(self, to: str = "GET") -> Response:
        """The next final response, to a request with method `to`; 1xx ones before it are kept aside."""
        early: list[Response] = []
        while (head := self.head()).status < 200 and head.status != 101:
            early.append(head)
        body, trailers = self.body(head, to)
        return Response(head.version, head.status, head.reason, head.headers, body, trailers, tuple(early))

    def head(self) -> Response:
        """The next status line and header section only; the body, if any, is left unread."""
        parts = self._line().decode("latin-1").split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise BrokenResponse(f"no status line: {parts!r}")
        return Response(parts[0], int(parts[1]), parts[2] if len(parts) > 2 else "", self._fields())

    def body(self, head: Response, to: str = "GET") -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """The body and trailers that follow `head` (RFC 9112 §6.3)."""
        if to == "HEAD" or head.status in {101, 204, 304} or (to == "CONNECT" and head.status < 300):
            return b"", ()
        coding, length = head.header("transfer-encoding"), head.header("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise BrokenResponse(f"transfer-encoding {coding!r} with content-length {length!r}")
            return self._chunked()
        if length is not None:
            return self._take(int(length)), ()
        return self.read_to_end(), ()

    def _chunked(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        body = b""
        while size := int(self._line(body).split(b";")[0], 16):
            body += self._take(size, body)
            if self._line(body) != b"":
                raise BrokenResponse("no CR LF after a chunk")
        return body, self._fields()

    def _fields(self) -> tuple[tuple[str, str], ...]:
        fields = []
        while line := self._line():
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not name or name != name.strip():
                raise BrokenResponse(f"no header field: {line!r}")
            fields.append((name, value.strip(" \t")))
        return tuple(fields)


def request_bytes(
    method: str = "GET",
    target: str = "/",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    token: str | None = None,
) -> bytes:
    """A well-formed HTTP/1.1 request: Host unless given, Content-Length if there is a body, `token` as Bearer."""
    fields = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", "api.example.com"))
    if token is not None:
        fields.append(("Authorization", f"Bearer {token}"))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def chunked(*chunks: bytes, trailers: Mapping[str, str] | None = None) -> bytes:
    """A body in chunked coding (RFC 9112 §7.1)."""
    parts = [f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks]
    tail = "".join(f"{name}: {value}\r\n" for name, value in (trailers or {}).items())
    return b"".join(parts) + b"0\r\n" + tail.encode("latin-1") + b"\r\n"
