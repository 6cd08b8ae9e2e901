"""A TLS client and our engine in one process; bytes pass only when told to."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
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
            for authority in identity.chain:
                context.add_extra_chain_cert(authority)
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


class Sealer:
    """Makes the records that no TLS library makes on request (RFC 8446 §5.2, §7.1): empty, padded, new keys."""

    def __init__(self, secret: bytes) -> None:
        self._install(secret)

    def _install(self, secret: bytes) -> None:
        self._secret, self._number = secret, 0
        self._key, self._iv = AESGCM(self._expand(b"key", 32)), self._expand(b"iv", 12)

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(SHA384(), size, info).derive(self._secret)

    def record(self, kind: int, content: bytes, padding: int) -> bytes:
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (int.from_bytes(self._iv, "big") ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._key.encrypt(nonce, inner, header)

    def disguised(self, at: int, behind: int) -> tuple[bytes, bytes]:
        """A record of 262 bytes, and its plaintext, chosen for its ciphertext: from `at` on, with `behind` bytes that
        follow, it reads as one record from beginning to end.
        """
        number, content = self._number, bytearray(240)
        lengths = (262 - at + behind - 5).to_bytes(2, "big")
        plain = self.record(23, bytes(content), 262 - 5 - 16 - 1 - len(content))
        self._number = number
        for place, wanted in zip((at + 3, at + 4), lengths, strict=True):
            if place >= 5:
                content[place - 5] ^= plain[place] ^ wanted
            else:
                assert plain[place] == wanted
        return self.record(23, bytes(content), 262 - 5 - 16 - 1 - len(content)), bytes(content)

    def key_update(self, *, is_requested: bool) -> bytes:
        made = self.record(22, b"\x18\x00\x00\x01" + bytes([is_requested]), 0)
        self._install(self._expand(b"traffic upd", 48))
        return made


def sealed_pair(tls: ServerTls, identity: Identity) -> tuple[Pair, Sealer]:
    """An established pair, and a sealer of what its client says from now on."""
    pair = Pair(tls, identity)
    pair.shake_hands()
    assert pair.client.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
    (secret,) = (line.split()[2] for line in pair.key_log if line.startswith(b"CLIENT_TRAFFIC_SECRET_0 "))
    return pair, Sealer(bytes.fromhex(secret.decode()))
