"""Requests that carry another inside, in every shape in which two readers may disagree where the first one ends.

The outer request has a token and is for `/accounts/1`; the inner one is for `/forbidden` and has none. Whatever the
sidecar makes of the outer one, the upstream must never see the inner.
"""

from collections.abc import Iterator, Mapping

INNER = b"GET /forbidden HTTP/1.1\r\nHost: api.example.com\r\n\r\n"

CHUNKED_SPELLINGS: Mapping[str, bytes] = {
    "plain": b"Transfer-Encoding: chunked",
    "tab": b"Transfer-Encoding:\tchunked",
    "capitals": b"TRANSFER-ENCODING: CHUNKED",
    "space_before_colon": b"Transfer-Encoding : chunked",
    "vertical_tab": b"Transfer-Encoding:\x0bchunked",
    "nul_before": b"\x00Transfer-Encoding: chunked",
    "nul_after": b"Transfer-Encoding: chunked\x00",
    "folded_value": b"Transfer-Encoding:\r\n chunked",
    "folded_name": b"Transfer-Encoding\r\n : chunked",
    "space_before_name": b" Transfer-Encoding: chunked",
    "underscore": b"Transfer_Encoding: chunked",
    "after_bare_cr": b"X-A: b\rTransfer-Encoding: chunked",
    "after_bare_lf": b"X-A: b\nTransfer-Encoding: chunked",
    "quoted": b'Transfer-Encoding: "chunked"',
    "single_quoted": b"Transfer-Encoding: 'chunked'",
    "with_parameter": b"Transfer-Encoding: chunked;q=1",
    "xchunked": b"Transfer-Encoding: xchunked",
    "chunkedx": b"Transfer-Encoding: chunkedx",
    "comma_before": b"Transfer-Encoding: ,chunked",
    "comma_after": b"Transfer-Encoding: chunked,",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "then_identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "after_identity": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "listed_before_identity": b"Transfer-Encoding: chunked, identity",
    "listed_after_gzip": b"Transfer-Encoding: gzip, chunked",
    "named_in_connection": b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "none": b"X-A: b",
}
LENGTH_SPELLINGS: Mapping[str, bytes] = {
    "plain": b"Content-Length: %d",
    "plus": b"Content-Length: +%d",
    "space_before_colon": b"Content-Length : %d",
    "underscore": b"Content_Length: %d",
    "list": b"Content-Length: %d, 0",
    "with_zero": b"Content-Length: 0\r\nContent-Length: %d",
    "hexadecimal": b"Content-Length: 0x%x",
    "named_in_connection": b"Connection: Content-Length\r\nContent-Length: %d",
    "none": b"X-B: %d",
}


def _request(token: str, fields: bytes, body: bytes, method: bytes = b"POST") -> bytes:
    head = b"%s /accounts/1 HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer %s\r\n"
    return head % (method, token.encode()) + fields + b"\r\n\r\n" + body


def shapes(token: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each shape: first the codings beside a plain length, then the lengths beside a plain
    coding; each with the inner request after the last chunk, and inside the one chunk."""
    after_last_chunk = b"0\r\n\r\n" + INNER
    size_line = b"%x\r\n" % len(INNER)
    inside_chunk = size_line + INNER + b"\r\n0\r\n\r\n"
    bodies = {"after": (after_last_chunk, len(after_last_chunk)), "inside": (inside_chunk, len(size_line))}
    pairs = [(name, coding, LENGTH_SPELLINGS["plain"]) for name, coding in CHUNKED_SPELLINGS.items()]
    pairs += [
        (f"length_{name}", CHUNKED_SPELLINGS["plain"], length)
        for name, length in LENGTH_SPELLINGS.items()
        if name != "plain"
    ]
    for name, coding, length in pairs:
        for place, (body, declared) in bodies.items():
            yield f"{name}-{place}", _request(token, length % declared + b"\r\n" + coding, body)
            yield f"{name}-{place}-coding_first", _request(token, coding + b"\r\n" + length % declared, body)
    yield "body_on_get", _request(token, b"X-A: b", INNER, method=b"GET")
    yield "body_after_expect", _request(token, b"Expect: 100-continue\r\nContent-Length: 0", INNER)
    yield (
        "body_after_refused_upgrade",
        _request(token, b"Connection: Upgrade\r\nUpgrade: no-such", INNER, b"GET"),
    )
    yield "chunk_size_overflow", _request(token, b"Transfer-Encoding: chunked", b"f" * 17 + b"\r\n" + INNER)
    yield (
        "chunk_extension_line",
        _request(token, b"Transfer-Encoding: chunked", b"0;\n" + INNER + b"\r\n\r\n"),
    )
