"""Odd requests, as bytes. Each is sent on a fresh connection and followed at once by `END`, a plain request."""

from collections.abc import Mapping

END = b"GET /end HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"


def _get(
    *fields: bytes, target: bytes = b"/x", method: bytes = b"GET", version: bytes = b"HTTP/1.1"
) -> bytes:
    lines = [b" ".join([method, target, version]), b"Host: api.example.com", *fields, b"", b""]
    return b"\r\n".join(lines)


def _post(*fields: bytes, body: bytes = b"") -> bytes:
    return _get(*fields, method=b"POST") + body


_CHUNKED = b"Transfer-Encoding: chunked"
_CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"

FRAMING: Mapping[str, bytes] = {
    "content_length": _post(b"Content-Length: 3", body=b"abc"),
    "chunked": _post(_CHUNKED, body=_CHUNKS),
    "chunked_with_trailer": _post(_CHUNKED, body=b"3\r\nabc\r\n0\r\nX-T: v\r\n\r\n"),
    "chunked_with_extension": _post(_CHUNKED, body=b"3;a=b\r\nabc\r\n0\r\n\r\n"),
    "chunk_size_leading_zeros": _post(_CHUNKED, body=b"0003\r\nabc\r\n0\r\n\r\n"),
    "length_then_chunked": _post(b"Content-Length: 3", _CHUNKED, body=_CHUNKS),
    "chunked_then_length": _post(_CHUNKED, b"Content-Length: 3", body=_CHUNKS),
    "chunked_twice": _post(_CHUNKED, _CHUNKED, body=_CHUNKS),
    "chunked_listed_twice": _post(b"Transfer-Encoding: chunked, chunked", body=_CHUNKS),
    "chunked_not_last": _post(b"Transfer-Encoding: chunked, identity", body=_CHUNKS),
    "gzip_then_chunked": _post(b"Transfer-Encoding: gzip, chunked", body=_CHUNKS),
    "coding_unknown": _post(b"Transfer-Encoding: xchunked", body=_CHUNKS),
    "coding_in_capitals": _post(b"Transfer-Encoding: CHUNKED", body=_CHUNKS),
    "coding_quoted": _post(b'Transfer-Encoding: "chunked"', body=_CHUNKS),
    "coding_after_vertical_tab": _post(b"Transfer-Encoding: \x0bchunked", body=_CHUNKS),
    "coding_identity": _post(b"Transfer-Encoding: identity", b"Content-Length: 3", body=b"abc"),
    "coding_empty": _post(b"Transfer-Encoding:", b"Content-Length: 3", body=b"abc"),
    "chunked_in_http_1_0": b"POST /x HTTP/1.0\r\nHost: api.example.com\r\n"
    + _CHUNKED
    + b"\r\n\r\n"
    + _CHUNKS,
    "lengths_differ": _post(b"Content-Length: 3", b"Content-Length: 4", body=b"abc"),
    "lengths_agree": _post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "length_list": _post(b"Content-Length: 3, 3", body=b"abc"),
    "length_plus": _post(b"Content-Length: +3", body=b"abc"),
    "length_minus": _post(b"Content-Length: -3", body=b"abc"),
    "length_hexadecimal": _post(b"Content-Length: 0x3", body=b"abc"),
    "length_empty": _post(b"Content-Length:", body=b""),
    "length_overflow": _post(b"Content-Length: 99999999999999999999", body=b"abc"),
    "length_on_get": _get(b"Content-Length: 3") + b"abc",
    "chunk_size_signed": _post(_CHUNKED, body=b"+3\r\nabc\r\n0\r\n\r\n"),
    "chunk_size_prefixed": _post(_CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"),
    "chunk_size_overflow": _post(_CHUNKED, body=b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "chunk_size_empty": _post(_CHUNKED, body=b"\r\nabc\r\n0\r\n\r\n"),
    "chunk_end_missing": _post(_CHUNKED, body=b"3\r\nabcXX0\r\n\r\n"),
    "chunk_line_bare_lf": _post(_CHUNKED, body=b"3\nabc\n0\n\n"),
    "chunk_extension_bare_cr": _post(_CHUNKED, body=b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "chunk_size_trailing_space": _post(_CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"),
    "trailer_content_length": _post(_CHUNKED, body=b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"),
}

REQUEST_LINE: Mapping[str, bytes] = {
    "method_lower_case": _get(method=b"get"),
    "method_unknown": _get(method=b"BREW"),
    "method_connect": b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n",
    "method_trace": _get(method=b"TRACE"),
    "http_0_9": b"GET /x\r\n",
    "http_1_0": _get(b"Connection: keep-alive", version=b"HTTP/1.0"),
    "http_1_2": _get(version=b"HTTP/1.2"),
    "http_2_0": _get(version=b"HTTP/2.0"),
    "http_2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version_lower_case": _get(version=b"http/1.1"),
    "protocol_rtsp": _get(version=b"RTSP/1.0"),
    "two_spaces": b"GET  /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
    "tab_between": b"GET\t/x\tHTTP/1.1\r\nHost: api.example.com\r\n\r\n",
    "space_in_target": b"GET /x y HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
    "empty_lines_before": b"\r\n\r\n" + _get(),
    "bare_lf_lines": b"GET /x HTTP/1.1\nHost: api.example.com\n\n",
    "asterisk_options": _get(method=b"OPTIONS", target=b"*"),
    "asterisk_get": _get(target=b"*"),
    "absolute_form": _get(target=b"http://api.example.com/x"),
    "absolute_form_other_host": _get(target=b"http://other.example.com/x"),
    "authority_form_get": _get(target=b"api.example.com:443"),
    "no_leading_slash": _get(target=b"x"),
    "fragment": _get(target=b"/x#y"),
    "backslash": _get(target=b"/x\\y"),
    "dot_segments": _get(target=b"/a/../x"),
    "dot_segments_encoded": _get(target=b"/a/%2e%2e/x"),
    "double_slash": _get(target=b"//x"),
    "slash_encoded": _get(target=b"/a%2Fx"),
    "parameters": _get(target=b"/x;a=b"),
    "nul_encoded": _get(target=b"/x%00"),
    "percent_broken": _get(target=b"/x%zz"),
    "high_bytes": _get(target=b"/\xc3\xa9"),
    "target_long": _get(target=b"/" + b"x" * 70000),
}

FIELDS: Mapping[str, bytes] = {
    "host_missing": b"GET /x HTTP/1.1\r\n\r\n",
    "host_twice": _get(b"Host: other.example.com"),
    "host_empty": b"GET /x HTTP/1.1\r\nHost:\r\n\r\n",
    "host_with_path": b"GET /x HTTP/1.1\r\nHost: api.example.com/y\r\n\r\n",
    "host_with_userinfo": b"GET /x HTTP/1.1\r\nHost: a@api.example.com\r\n\r\n",
    "host_missing_http_1_0": b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "space_before_colon": _get(b"X-A : b"),
    "space_before_name": b"GET /x HTTP/1.1\r\n Host: api.example.com\r\n\r\n",
    "folded": _get(b"X-A: b", b" c"),
    "name_empty": _get(b": b"),
    "name_with_control": _get(b"X-\x01A: b"),
    "name_with_bracket": _get(b"X[A]: b"),
    "name_with_underscore": _get(b"X_A: b"),
    "no_colon": _get(b"X-A"),
    "value_bare_cr": _get(b"X-A: b\rX-B: c"),
    "value_nul": _get(b"X-A: b\x00c"),
    "value_control": _get(b"X-A: b\x01c"),
    "value_high_bytes": _get(b"X-A: \xc3\xa9"),
    "value_empty": _get(b"X-A:"),
    "header_long": _get(b"X-A: " + b"b" * 70000),
    "headers_many": _get(*(b"X-%d: b" % number for number in range(300))),
    "authorization_twice": _get(b"Authorization: Bearer a", b"Authorization: Bearer b"),
    "connection_names_field": _get(b"Connection: X-A", b"X-A: b"),
    "expect_unknown": _get(b"Expect: a-miracle"),
    "expect_continue": _post(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
    "te_trailers": _get(b"TE: trailers", b"Connection: TE"),
    "upgrade_h2c": _get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "proxy_connection": _get(b"Proxy-Connection: keep-alive"),
    "pipelined": _get() + _get(target=b"/y"),
    "garbage_after_request": _get() + b"\x00\x01\x02\r\n\r\n",
}

CORPUS: Mapping[str, bytes] = {**FRAMING, **REQUEST_LINE, **FIELDS}
