"""TLS without the cryptography: records that only say what they are, for both ends of a conversation in memory."""

from sidecar.decision.request import ClientCertificate
from sidecar.proxy.tls import Engine, TlsFailure
from tests.support.pki import Identity, certificate_der

HANDSHAKE, DATA, ALERT = 0x16, 0x17, 0x15
CLOSE_NOTIFY = b"close_notify"


def seal(kind: int, payload: bytes) -> bytes:
    """One record: its type, its length in four bytes, its content."""
    return bytes((kind,)) + len(payload).to_bytes(4) + payload


class Unsealing:
    """Bytes, cut anywhere → records."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def due(self) -> int:
        """Bytes that are still to come of the record whose length is known."""
        return 5 + int.from_bytes(self._rest[1:5]) - len(self._rest) if len(self._rest) >= 5 else 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The records that are complete now. Raises `ValueError` for what is none."""
        self._rest += data
        records = []
        while self._rest:
            if self._rest[0] not in {HANDSHAKE, DATA, ALERT}:
                raise ValueError("no record")
            end = 5 + int.from_bytes(self._rest[1:5]) if len(self._rest) >= 5 else 5
            if len(self._rest) < end:
                break
            records.append((self._rest[0], self._rest[5:end]))
            self._rest = self._rest[end:]
        return records


class CleartextEngine(Engine):
    """`Engine` for such records. The client's first record is its handshake."""

    def __init__(
        self, certificate: ClientCertificate | None, *, resumed: bool, negotiates: tuple[str, str] = ("", "")
    ) -> None:
        super().__init__()
        self.rests = 0
        self._said_goodbye = False
        self._certificate = certificate
        self.speaks_protocol = ""
        self.above: tuple[bytes, ...] = ()
        """DER of the certificates that came with it."""
        self._resumed = resumed
        self._negotiates = negotiates
        self._records = Unsealing()
        self._out = b""

    def receive(self, data: bytes) -> bytes:
        plaintext = b""
        try:
            records = self._records.feed(data)
        except ValueError:
            self._out += seal(ALERT, b"unexpected_message")
            raise TlsFailure("not_tls", "wrong version number") from None
        self.records += len(records)
        self.due = self._records.due
        for kind, payload in records:
            if kind == HANDSHAKE:
                self.established = True
                self._out += seal(HANDSHAKE, b"")
            elif kind == DATA:
                plaintext += payload
            elif payload == CLOSE_NOTIFY:
                self.eof = True
            else:
                raise TlsFailure("alert_from_client", payload.decode())
        return plaintext

    def outgoing(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def send(self, plaintext: bytes) -> bytes:
        return self.outgoing() + seal(DATA, plaintext)

    def client_certificate(self) -> ClientCertificate | None:
        return self._certificate

    def chain(self) -> list[bytes]:
        return [self._certificate.der, *self.above] if self._certificate is not None else []

    def is_resumed(self) -> bool:
        return self._resumed

    def negotiated(self) -> tuple[str, str]:
        return self._negotiates

    def is_unchecked(self) -> bool:
        return False

    def protocol(self) -> str:
        return self.speaks_protocol

    def settle(self) -> None:
        pass

    def rest(self) -> None:
        self.rests += 1

    def shutdown(self) -> bytes:
        if self.established and not self._said_goodbye:
            self._said_goodbye = True
            self._out += seal(ALERT, CLOSE_NOTIFY)
        return self.outgoing()


class CleartextTls:
    """Makes the engines of one listener: the next connection is that of `identity`."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.distrusted: set[bytes] = set()
        """Certificates that a reload no longer accepts."""
        self.resumed = False
        self.negotiates = ("", "")
        """TLS version and group of the next connection."""
        self.protocol = ""
        """What the handshake of the next connection agrees to speak."""
        self.list_ends: tuple[float, ...] = ()
        self.make: type[CleartextEngine] = CleartextEngine

    def again(self) -> "CleartextTls":
        """Another with everything in common, as a reload makes one."""
        made = CleartextTls()
        made.__dict__ = self.__dict__
        return made

    def accepts(self, chain: list[bytes]) -> bool:
        return self.distrusted.isdisjoint(chain)

    def engine(self) -> CleartextEngine:
        certificate = self.identity.presented if self.identity is not None else None
        engine = self.make(certificate, resumed=self.resumed, negotiates=self.negotiates)
        engine.speaks_protocol = self.protocol
        if self.identity is not None:
            engine.above = tuple(certificate_der(one) for one in self.identity.chain)
        return engine
