"""The PROXY protocol, versions 1 and 2: a load balancer sends the client's address before the TLS handshake. Pure."""

import ipaddress
import struct

_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_LONGEST = 107
"""Length of the longest version 1 line, in bytes, with its line end."""
_V2_LONGEST = 4096

Peer = tuple[str, int]


class Incomplete(Exception):
    """More bytes are needed."""


class NotProxyProtocol(Exception):
    """The received bytes are not a PROXY protocol header."""


def read_preface(data: bytes) -> tuple[Peer | None, bytes]:
    """The client that the header names (None for LOCAL and UNKNOWN), and the bytes after the header.

    Raises `Incomplete` and `NotProxyProtocol`.
    """
    if data[:12] == _V2_SIGNATURE[: len(data)] and data:
        return _version_2(data)
    if data[:6] == b"PROXY "[: len(data)] and data:
        return _version_1(data)
    raise NotProxyProtocol("the peer is listed as a proxy but sent no PROXY header")


def _version_1(data: bytes) -> tuple[Peer | None, bytes]:
    line, end, rest = data.partition(b"\r\n")
    if len(line) + 2 > _V1_LONGEST:
        raise NotProxyProtocol("version 1 header too long")
    if not end:
        raise Incomplete
    words = line.split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return None, rest
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise NotProxyProtocol("version 1 header malformed")
    family = ipaddress.IPv4Address if words[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        return (str(family(words[2].decode("ascii"))), _port(words[4])), rest
    except ValueError as error:
        raise NotProxyProtocol("version 1 address malformed") from error


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or int(word) > 65535:
        raise ValueError("port")
    return int(word)


def _version_2(data: bytes) -> tuple[Peer | None, bytes]:
    if len(data) < 16:
        raise Incomplete
    version, family, length = struct.unpack_from("!BBH", data, 12)
    if version >> 4 != 2 or version & 0x0F > 1 or length > _V2_LONGEST:
        raise NotProxyProtocol("version 2 header malformed")
    if len(data) < 16 + length:
        raise Incomplete
    body, rest = data[16 : 16 + length], data[16 + length :]
    if version & 0x0F == 0 or family >> 4 == 0:
        return None, rest
    if family == 0x11 and length >= 12:
        source, port = ipaddress.IPv4Address(body[:4]), struct.unpack_from("!H", body, 8)[0]
        return (str(source), port), rest
    if family == 0x21 and length >= 36:
        source6, port = ipaddress.IPv6Address(body[:16]), struct.unpack_from("!H", body, 32)[0]
        return (str(source6), port), rest
    raise NotProxyProtocol("version 2 address malformed")
