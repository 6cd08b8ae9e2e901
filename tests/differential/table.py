"""What the sidecar, Envoy and nginx each make of every odd request of the corpus, and why they differ.

The outcomes are in the words of `outcome.py`. Envoy and nginx run with their defaults, without any of the stricter
settings that both offer; the table compares defaults, it does not judge. It was made with Envoy 1.40 (which the lock
file pins) and nginx 1.22.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NGINX_VERSION = "1.22.1"


@dataclass(frozen=True, slots=True)
class Row:
    """None: the same as the sidecar. `why` explains the difference; without one there is none."""

    sidecar: str
    envoy: str | None = None
    nginx: str | None = None
    why: str = ""


REFUSED = "400 close"
GET = "200 GET /x"
POST = "200 POST /x 'abc'"

CODINGS = (
    "a coding that is not exactly chunked: 501 says not implemented (RFC 9112 §6.1), 400 says faulty framing"
)
OWN_LENGTH = (
    "Transfer-Encoding without chunked, beside a length: faulty framing to some, an unknown coding to nginx"
)
OLD_VERSION = "Envoy takes HTTP/1.0 only when told to, and says 426"
OTHER_VERSION = "only 1.0 and 1.1 are spoken here (RFC 9112 §2.3); Envoy says 426, nginx reads any 1.x as 1.1"
AMBIGUOUS = "a path that servers read differently is refused unless a rule lets it pass by name"
BARE_LF = "RFC 9112 §2.2 lets a server take a bare LF as a line end; the sidecar never does"
DROPPED_TRAILERS = "only the sidecar passes trailers on"
TOO_LARGE = "limits differ, and so do the status codes for passing them"

FRAMING: Mapping[str, Row] = {
    "content_length": Row(POST),
    "chunked": Row(POST),
    "chunked_with_trailer": Row(f"{POST} X-T:v", POST, POST, DROPPED_TRAILERS),
    "chunked_with_extension": Row(POST),
    "chunk_size_leading_zeros": Row(POST),
    "length_then_chunked": Row(REFUSED),
    "chunked_then_length": Row(REFUSED),
    "chunked_twice": Row(REFUSED, "501 close", None, CODINGS),
    "chunked_listed_twice": Row(REFUSED, "501 close", "501 close", CODINGS),
    "chunked_not_last": Row(REFUSED, "501 close", "501 close", CODINGS),
    "gzip_then_chunked": Row(REFUSED, "501 close", "501 close", CODINGS),
    "coding_unknown": Row(REFUSED, "501 close", "501 close", CODINGS),
    "coding_in_capitals": Row(POST),
    "coding_quoted": Row(REFUSED, "501 close", "501 close", CODINGS),
    "coding_after_vertical_tab": Row(REFUSED, None, "501 close", CODINGS),
    "coding_identity": Row(REFUSED, None, "501 close", OWN_LENGTH),
    "coding_empty": Row(REFUSED, None, "501 close", OWN_LENGTH),
    "chunked_in_http_1_0": Row(REFUSED, "426 close", None, OLD_VERSION),
    "lengths_differ": Row(REFUSED),
    "lengths_agree": Row(REFUSED),
    "length_list": Row(REFUSED),
    "length_plus": Row(REFUSED),
    "length_minus": Row(REFUSED),
    "length_hexadecimal": Row(REFUSED),
    "length_empty": Row(REFUSED),
    "length_overflow": Row(REFUSED),
    "length_on_get": Row("200 GET /x 'abc'"),
    "chunk_size_signed": Row(REFUSED),
    "chunk_size_prefixed": Row(REFUSED),
    "chunk_size_overflow": Row(REFUSED),
    "chunk_size_empty": Row(REFUSED),
    "chunk_end_missing": Row(REFUSED),
    "chunk_line_bare_lf": Row(REFUSED, None, POST, BARE_LF),
    "chunk_extension_bare_cr": Row(REFUSED),
    "chunk_size_trailing_space": Row(
        REFUSED, POST, POST, "RFC 9112 §7.1.1 has no space after the size; many recipients pass over it"
    ),
    "trailer_content_length": Row(
        REFUSED,
        POST,
        POST,
        f"framing fields may not be trailers (RFC 9110 §6.5.1): refused here; {DROPPED_TRAILERS}",
    ),
}

REQUEST_LINE: Mapping[str, Row] = {
    "method_lower_case": Row(REFUSED),
    "method_unknown": Row(
        REFUSED, None, "200 BREW /x", "nginx takes any token in capitals; the parsers have a list"
    ),
    "method_connect": Row(
        "501 close", "404 close", REFUSED, "none of them is a forward proxy; each says so in its own way"
    ),
    "method_trace": Row(
        "501 close", "200 TRACE /x", "405 close", "TRACE would echo the injected identity: refused here"
    ),
    "http_0_9": Row(
        REFUSED, "426 close", "GET /x close", "nginx answers a version-less request without a head"
    ),
    "http_1_0": Row(GET, "426 close", None, OLD_VERSION),
    "http_1_2": Row(REFUSED, "426 close", GET, OTHER_VERSION),
    "http_2_0": Row("505 close", "426 close", None, OTHER_VERSION),
    "http_2_preface": Row(REFUSED),
    "version_lower_case": Row(REFUSED),
    "protocol_rtsp": Row(REFUSED),
    "two_spaces": Row(GET),
    "tab_between": Row(REFUSED, GET, None, "RFC 9112 §3 lets a server split at a tab; only Envoy does"),
    "space_in_target": Row(REFUSED),
    "empty_lines_before": Row(GET),
    "bare_lf_lines": Row(REFUSED, GET, GET, BARE_LF),
    "asterisk_options": Row(
        "200 OPTIONS *", "404", REFUSED, "RFC 9112 §3.2.4: the whole server; Envoy's route has no path for it"
    ),
    "asterisk_get": Row(REFUSED),
    "absolute_form": Row(GET),
    "absolute_form_other_host": Row(
        REFUSED,
        "200 GET /x Host:other.example.com",
        GET,
        "target and Host name two hosts: RFC 9112 §3.2.2 prefers the target, an upstream may not; refused here",
    ),
    "authority_form_get": Row(REFUSED),
    "no_leading_slash": Row(REFUSED),
    "fragment": Row(
        REFUSED, None, "200 GET /x#y", "a target has no fragment (RFC 9112 §3.2); nginx passes it on"
    ),
    "backslash": Row(REFUSED, "200 GET /x\\y", "200 GET /x\\y", AMBIGUOUS),
    "dot_segments": Row(REFUSED, "200 GET /a/../x", "200 GET /a/../x", AMBIGUOUS),
    "dot_segments_encoded": Row(REFUSED, "200 GET /a/%2e%2e/x", "200 GET /a/%2e%2e/x", AMBIGUOUS),
    "double_slash": Row(REFUSED, "200 GET //x", "200 GET //x", AMBIGUOUS),
    "slash_encoded": Row(REFUSED, "200 GET /a%2Fx", "200 GET /a%2Fx", AMBIGUOUS),
    "parameters": Row(REFUSED, "200 GET /x;a=b", "200 GET /x;a=b", AMBIGUOUS),
    "nul_encoded": Row(REFUSED, "200 GET /x%00", None, AMBIGUOUS),
    "percent_broken": Row(REFUSED, "200 GET /x%zz", None, AMBIGUOUS),
    "high_bytes": Row(
        REFUSED, None, "200 GET /Ã©", "RFC 3986 §2 wants them percent-encoded; nginx passes them on"
    ),
    "target_long": Row("414 close", "431 close", None, TOO_LARGE),
}

FIELDS: Mapping[str, Row] = {
    "host_missing": Row(REFUSED),
    "host_twice": Row(
        REFUSED,
        "200 GET /x Host:api.example.com,other.example.com",
        None,
        "RFC 9112 §3.2 wants 400; Envoy joins the two",
    ),
    "host_empty": Row(
        "200 GET /x Host:", None, REFUSED, "legal where the target has no host (RFC 9112 §3.2)"
    ),
    "host_with_path": Row(REFUSED),
    "host_with_userinfo": Row(
        REFUSED,
        "200 GET /x Host:a@api.example.com",
        "200 GET /x Host:a@api.example.com",
        "Host has no userinfo (RFC 9110 §7.2)",
    ),
    "host_missing_http_1_0": Row(
        "200 GET /x Host:",
        "426 close",
        GET,
        f"{OLD_VERSION}; the upstream gets Host empty, or nginx's own name",
    ),
    "space_before_colon": Row(REFUSED),
    "space_before_name": Row(REFUSED),
    "folded": Row(
        REFUSED, "200 GET /x X-A:b c", None, "RFC 9112 §5.2: reject, or replace by a space as Envoy does"
    ),
    "name_empty": Row(REFUSED),
    "name_with_control": Row(REFUSED),
    "name_with_bracket": Row(REFUSED, None, GET, "not a token (RFC 9110 §5.1): refused, or dropped by nginx"),
    "name_with_underscore": Row(
        GET, "200 GET /x X_A:b", None, "an upstream may read it as X-A: dropped here and by nginx"
    ),
    "no_colon": Row(
        REFUSED, None, "200 GET /x X-A:", "not a field line (RFC 9112 §5); nginx takes it as empty"
    ),
    "value_bare_cr": Row(
        REFUSED, "200 GET /x X-A:bX-B: c", None, "RFC 9112 §2.2: invalid, or replaced; Envoy takes it out"
    ),
    "value_nul": Row(REFUSED),
    "value_control": Row(
        REFUSED,
        None,
        "200 GET /x X-A:b\x01c",
        "RFC 9110 §5.5 lets a recipient keep other controls; only nginx does",
    ),
    "value_high_bytes": Row("200 GET /x X-A:Ã©"),
    "value_empty": Row("200 GET /x X-A:"),
    "header_long": Row("431 close", None, REFUSED, TOO_LARGE),
    "headers_many": Row("431 close", None, GET, TOO_LARGE),
    "authorization_twice": Row(
        GET,
        "200 GET /x Authorization:Bearer a,Bearer b",
        REFUSED,
        "under a public rule the sidecar asks for no token and passes none on; Envoy joins the two",
    ),
    "connection_names_field": Row(
        GET, None, "200 GET /x X-A:b", "RFC 9110 §7.6.1: a named field goes no further"
    ),
    "expect_unknown": Row(
        "417 close",
        "200 GET /x Expect:a-miracle",
        GET,
        "RFC 9110 §10.1.1 allows 417; nginx takes the field out",
    ),
    "expect_continue": Row(
        "200 POST /x 'abc' Expect:100-continue",
        "100 200 POST /x 'abc'",
        "100 200 POST /x 'abc'",
        "the sidecar lets the upstream ask for the body; the others ask for it themselves",
    ),
    "te_trailers": Row(
        "200 GET /x TE:trailers",
        None,
        GET,
        "nginx passes no trailers on, so it asks for none (RFC 9110 §10.1.4)",
    ),
    "upgrade_h2c": Row(
        "200 GET /x close",
        GET,
        GET,
        "what follows a refused upgrade may not be HTTP/1.1: closed after the answer",
    ),
    "proxy_connection": Row(GET),
    "pipelined": Row("200 200 GET /x + GET /y"),
    "garbage_after_request": Row("200 400 GET /x close"),
}

TABLE: Mapping[str, Row] = {**FRAMING, **REQUEST_LINE, **FIELDS}
