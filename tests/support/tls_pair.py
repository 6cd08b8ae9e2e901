"""A TLS client and our engine in one process; bytes pass only when told to."""

from OpenSSL import SSL

from sidecar.proxy.tls import ServerTls
from tests.support.pki import Identity

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class Pair:
    """A client, and our engine; bytes pass only when told to."""

    def __init__(
        self,
        tls: ServerTls,
        identity: Identity | None = None,
        version: str = "1.3",
        resumes: "Pair | None" = None,
    ) -> None:
        self.key_log: list[bytes] = []
        self.context: SSL.Context = (
            resumes.context if resumes is not None else self._context(identity, version)
        )
        self.client = SSL.Connection(self.context, None)
        self.client.set_connect_state()
        session = resumes.client.get_session() if resumes is not None else None
        if session is not None:
            self.client.set_session(session)
        self.engine = tls.engine()

    def _context(self, identity: Identity | None, version: str) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_keylog_callback(lambda _connection, line: self.key_log.append(line))
        context.set_max_proto_version(VERSIONS[version])
        if identity is not None:
            context.use_certificate(identity.certificate)
            context.use_privatekey(identity.key)
        return context

    def from_client(self) -> bytes:
        try:
            return self.client.bio_read(1 << 24)
        except SSL.WantReadError:
            return b""

    def shake_hands(self, step: int = 1 << 20) -> None:
        """Until both are done; the client's bytes arrive `step` at a time."""
        for _ in range(6):
            try:
                self.client.do_handshake()
            except SSL.WantReadError:
                pass
            data = self.from_client()
            for start in range(0, len(data), step):
                self.engine.receive(data[start : start + step])
            answer = self.engine.outgoing()
            if answer:
                self.client.bio_write(answer)
        if self.engine.established:
            self.engine.settle()

    def heard(self) -> bytes:
        """What the client can read now."""
        chunks = []
        try:
            while True:
                chunks.append(self.client.recv(1 << 16))
        except SSL.WantReadError:
            return b"".join(chunks)
