"""Requests and responses as a wire delivers them, and their faults."""

from typing import Final, NamedTuple

from sidecar.decision.denial import Reason

Field = tuple[bytes, bytes]

METHODS: Final = frozenset(
    {
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK",
        "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE",
        "QUERY", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    }
)  # fmt: skip
"""The methods that a request can have: those that the HTTP/1.1 parser knows, without TRACE and CONNECT."""


_CHUNKS_MOST: Final = 64
"""Pieces of content that wait one by one."""


class Fault(NamedTuple):
    """An error in a message."""

    reason: Reason
    detail: str


class MalformedResponse(Exception):
    """The upstream sent something that is not an HTTP/1.1 response."""


class LastText:
    """The text of the value that was decoded last, for a reader that hands out the same object again; and what was
    read from the last target.
    """

    __slots__ = ("_host", "_parsed", "_target", "_text", "_value")

    def __init__(self) -> None:
        self._value, self._text = b"", ""
        self._target = self._host = b""
        self._parsed: object = None

    def of(self, value: bytes) -> str:
        """`value` in ISO 8859-1 (RFC 9110 §5.5)."""
        if value is not self._value:
            self._value, self._text = value, value.decode("latin-1")
        return self._text

    def parsed(self, target: bytes, host: bytes) -> object:
        """What was read from this target and this host, if they are the last ones; else None."""
        return self._parsed if target == self._target and host == self._host else None

    def keep(self, target: bytes, host: bytes, parsed: object) -> None:
        """Keep what was read from a target and a host."""
        self._target, self._host, self._parsed = target, host, parsed

    def forget(self) -> None:
        """Keep nothing."""
        self._value, self._text = b"", ""
        self._target = self._host = b""
        self._parsed = None


class Whole:
    """What was found out about a head that came again. Whoever needs it compares `rules` by identity."""

    __slots__ = ("rules", "sorted")

    def __init__(self) -> None:
        self.rules: object = None
        self.sorted: object = None
        """The header fields, classified by these rules. Never changed."""


class Request:
    """One request as it arrives."""

    __slots__ = (
        "authorization", "body_bytes", "chunked", "chunks", "complete", "content_length", "fault", "fields",
        "keep_alive", "kept_bytes", "method", "minor_version", "overhead", "target", "trailer_bytes", "trailers",
        "upgrade", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.minor_version = 1
        self.fields: list[Field] = []
        self.trailers: list[Field] = []
        self.trailer_bytes = 0
        self.chunks: list[bytes] = []
        self.body_bytes = 0
        self.kept_bytes = 0
        """Bytes of content that a reader of the whole content has taken and keeps."""
        self.overhead = 0
        """Bytes received after the head that are not content, minus an allowance for framing."""
        self.content_length: int | None = None
        self.chunked = False
        self.keep_alive = False
        self.upgrade = False
        """The head asks for another protocol: the data after it is not HTTP."""
        self.complete = False
        self.fault: Fault | None = None
        self.authorization: LastText | None = None
        """Has decoded the value of Authorization, and maybe parsed the target, if the last request had the same
        fields.
        """
        self.whole: Whole | None = None
        """What is known of the head, if the last request had the same."""

    @property
    def held_bytes(self) -> int:
        """Number of bytes of content that are here and waiting."""
        return self.kept_bytes + sum(map(len, self.chunks))

    def gather(self) -> None:
        """Nobody takes the content for now: make one piece of it, for many small ones need more memory than their
        bytes.
        """
        if len(self.chunks) > _CHUNKS_MOST:
            self.chunks[:] = [b"".join(self.chunks)]

    def take_body(self) -> bytes:
        """The content that arrived since the last call."""
        chunks = self.chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data


NO_HEAD: Final = Request()
"""A placeholder while no head is arriving."""


class Response:
    """One response as it arrives from the upstream."""

    __slots__ = ("complete", "fields", "interim", "keep_alive", "phrase", "status", "trailers")

    def __init__(self) -> None:
        self.status = 0
        self.phrase = b""
        self.fields: list[Field] = []
        self.trailers: list[Field] = []
        self.keep_alive = False
        self.complete = False
        self.interim = False
        """1xx: another response follows."""
