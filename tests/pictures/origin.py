"""What a picture was made from, written into the picture itself: so a test can tell that it is no longer true."""

import hashlib
import struct
import zlib
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"Source"  # one of the keywords that the standard names (PNG, Third Edition, §11.3.3.1)


def digest(*parts: bytes) -> str:
    """A short name of what a picture shows."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Each chunk's type and data (PNG, Third Edition, §5.3)."""
    assert png.startswith(SIGNATURE)
    found, at = [], len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def write(file: Path, png: bytes, source: str) -> None:
    """`png` with `source` in a tEXt chunk behind its header."""
    header, *rest = chunks(png)
    file.write_bytes(
        SIGNATURE + b"".join(map(_chunk, [header, (b"tEXt", KEYWORD + b"\0" + source.encode()), *rest]))
    )


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, data = chunk
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def source(file: Path) -> str:
    """What `write` noted; empty where nothing is noted."""
    texts = [data for kind, data in chunks(file.read_bytes()) if kind == b"tEXt"]
    return next((text.split(b"\0")[1].decode() for text in texts if text.startswith(KEYWORD + b"\0")), "")


def size(file: Path) -> tuple[int, int]:
    """Width and height in pixels."""
    width, height = struct.unpack_from(">II", chunks(file.read_bytes())[0][1])
    return width, height
