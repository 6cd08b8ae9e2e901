"""What the sidecar, nginx, HAProxy and Envoy each make of every odd request of `http2_corpus.py`, and why they differ.

In the words of `http2_outcome.py`; a request that is not here is refused by all four. nginx, HAProxy and Envoy run
with their defaults. The table was made with nginx 1.22.1, HAProxy 2.6.12 and Envoy 1.40 (which the lock file pins).
"""

from collections.abc import Mapping
from dataclasses import dataclass

NGINX, HAPROXY = "1.22.1", "2.6.12"


@dataclass(frozen=True, slots=True)
class Row:
    """None: the same as the sidecar. `why` explains the difference; without one there is none."""

    sidecar: str
    nginx: str | None = None
    haproxy: str | None = None
    envoy: str | None = None
    why: str = ""
    late: str | None = None
    """What another makes of it when the content comes so late that the head was passed on."""


REFUSED = "refused"
GET, POST = "200 GET /a", "200 POST /a 'abc'"
QUERY = "200 GET /a?b=c"
ALL_REFUSE = Row(REFUSED)

TRAILERS = "nginx takes no trailers of requests, Envoy drops them"
AUTHORITY = "a request without an authority has no host to decide about; HAProxy passes it on"
CONNECTION = "malformed by RFC 9113 §8.2.2; nginx takes the field out"
LENGTHS = "RFC 9110 §8.6 lets a recipient make one of lengths that agree; refused here, as over HTTP/1.1"
HOST = "RFC 9110 §7.2: no host; passed on as it is by the others"
AMBIGUOUS = "a path that servers read differently is refused unless a rule allows it"

TABLE: Mapping[str, Row] = {
    "nothing odd": Row(GET),
    "content": Row(POST),
    "content with its length": Row(POST),
    "content with trailers": Row("200 POST /a 'abc' X-T:v", REFUSED, None, POST, why=TRAILERS),
    "content of GET": Row("200 GET /a 'abc'"),
    "Host alone": Row(GET),
    "Host like the authority": Row(
        GET, REFUSED, why="the same host twice: nginx takes any Host beside :authority for a second one"
    ),
    "crumbs of a cookie": Row(GET),
    "TE: trailers": Row(
        "200 GET /a TE:trailers",
        GET,
        why="nginx passes no trailers on, so it asks for none (RFC 9110 §10.1.4)",
    ),
    "a value with bytes past ASCII": Row("200 GET /a X-A:Ã©"),
    "a name with an underscore": Row(
        GET,
        None,
        "200 GET /a X_A:b",
        "200 GET /a X_A:b",
        why="an API may read it as x-a: dropped here and by nginx",
    ),
    "Expect: 100-continue": Row(
        "200 POST /a 'abc' Expect:100-continue",
        POST,
        None,
        POST,
        why="the sidecar and HAProxy let the API ask for the content; the others ask for it themselves",
    ),
    "a name outside of ASCII": Row(REFUSED, QUERY, why="no token (RFC 9110 §5.1); nginx takes the field out"),
    "a value with another control character": Row(
        REFUSED,
        QUERY,
        QUERY,
        why="a control character other than NUL, CR and LF: RFC 9110 §5.5 lets a recipient refuse it",
    ),
    "a value with DEL": Row(
        REFUSED,
        QUERY,
        QUERY,
        why="a control character other than NUL, CR and LF: RFC 9110 §5.5 lets a recipient refuse it",
    ),
    "a value with a space before it": Row(
        REFUSED, QUERY, QUERY, QUERY, why="malformed by RFC 9113 §8.2.1; the others strip it"
    ),
    "a value with a space behind it": Row(
        REFUSED, QUERY, QUERY, QUERY, why="malformed by RFC 9113 §8.2.1; the others strip it"
    ),
    "a value with a tab before it": Row(
        REFUSED, QUERY, QUERY, QUERY, why="malformed by RFC 9113 §8.2.1; the others strip it"
    ),
    "a value with a tab behind it": Row(
        REFUSED, QUERY, QUERY, QUERY, why="malformed by RFC 9113 §8.2.1; the others strip it"
    ),
    "a pseudo-header field behind others": Row(
        REFUSED, QUERY, why="malformed by RFC 9113 §8.3; nginx takes it all the same"
    ),
    "a method in lower case": Row(
        REFUSED,
        None,
        "200 get /a?b=c",
        "200 get /a?b=c",
        why="the sidecar knows the methods that it passes on; to the others any token will do",
    ),
    "a method that nobody knows": Row(
        REFUSED,
        "200 BREW /a?b=c",
        "200 BREW /a?b=c",
        "200 BREW /a?b=c",
        why="the sidecar knows the methods that it passes on; to the others any token will do",
    ),
    "another scheme": Row(
        REFUSED,
        QUERY,
        "200 GET ftp://api.example/a?b=c",
        QUERY,
        why="no scheme of HTTP: an API could take the request for that of a proxy, as HAProxy writes it",
    ),
    "an empty authority": Row(REFUSED, None, "200 GET /a?b=c Host:", why=AUTHORITY),
    "neither authority nor Host": Row(REFUSED, None, QUERY, why=AUTHORITY),
    "an empty Host alone": Row(REFUSED, None, "200 GET /a?b=c Host:", why=AUTHORITY),
    "Host that differs from the authority": Row(
        REFUSED,
        None,
        QUERY,
        QUERY,
        why="RFC 9113 §8.3.1: a server should refuse it; HAProxy and Envoy drop Host, and somebody behind may not",
    ),
    "Host that differs by its port": Row(
        REFUSED,
        None,
        QUERY,
        QUERY,
        why="RFC 9113 §8.3.1: a server should refuse it; HAProxy and Envoy drop Host, and somebody behind may not",
    ),
    "two Hosts": Row(
        REFUSED,
        None,
        "200 GET /a?b=c Host:a",
        why="RFC 9112 §3.2 wants 400 for a second Host; HAProxy takes the first, or :authority",
    ),
    "two Hosts and an authority": Row(
        REFUSED,
        None,
        QUERY,
        why="RFC 9112 §3.2 wants 400 for a second Host; HAProxy takes the first, or :authority",
    ),
    "Connection": Row(REFUSED, QUERY, why=CONNECTION),
    "Keep-Alive": Row(REFUSED, QUERY, why=CONNECTION),
    "Proxy-Connection": Row(REFUSED, QUERY, why=CONNECTION),
    "Transfer-Encoding": Row(REFUSED, "200 POST /a?b=c", why=CONNECTION),
    "Upgrade": Row(REFUSED, QUERY, why=CONNECTION),
    "TE other than trailers": Row(REFUSED, QUERY, why=CONNECTION),
    "TE with more than trailers": Row(REFUSED, QUERY, why=CONNECTION),
    "a length and no content": Row(
        REFUSED,
        None,
        "200 POST /a?b=c",
        why="malformed by RFC 9113 §8.1.1; HAProxy passes it on, without the length",
    ),
    "two lengths that agree": Row(REFUSED, None, "200 POST /a?b=c", why=LENGTHS),
    "a list of lengths": Row(REFUSED, None, "200 POST /a?b=c", why=LENGTHS),
    "a length of more than 18 digits": Row(
        REFUSED,
        "200 POST /a?b=c",
        "200 POST /a?b=c",
        "200 POST /a?b=c",
        why="the sidecar reads no number of more than 18 digits, whatever its value",
    ),
    "extended CONNECT": Row(
        REFUSED,
        None,
        "200 GET /a?b=c Upgrade:websocket",
        why="RFC 8441, which nobody was offered: HAProxy takes it nevertheless",
    ),
    "a protocol without CONNECT": Row(
        REFUSED, None, QUERY, why="malformed by RFC 8441 §4; HAProxy passes over it"
    ),
    "an authority with user information": Row(
        REFUSED, "200 GET /a?b=c Host:u@api.example", "200 GET /a?b=c Host:u@api.example", why=HOST
    ),
    "an authority with a slash": Row(
        REFUSED,
        None,
        "200 GET /x/a?b=c Host:api.example/x",
        why="no authority holds a path (RFC 3986 §3.2); HAProxy joins it and :path to another path",
    ),
    "an authority with a comma": Row(
        REFUSED,
        "200 GET /a?b=c Host:a,api.example",
        "200 GET /a?b=c Host:a,api.example",
        "200 GET /a?b=c Host:a,api.example",
        why=HOST,
    ),
    "a path with a fragment": Row(
        REFUSED, "200 GET /a#b", why="a target has no fragment (RFC 9112 §3.2); nginx passes it on"
    ),
    "a path outside of ASCII": Row(
        REFUSED,
        "200 GET /ä",
        "200 GET /ä",
        "200 GET /ä",
        why="RFC 3986 §2 wants such bytes percent-encoded: a path that servers read differently",
    ),
    "an asterisk with GET": Row(
        REFUSED,
        None,
        "200 GET /",
        why="RFC 9113 §8.3.1 has the asterisk for OPTIONS alone; HAProxy makes it a slash",
    ),
    "plain CONNECT": Row(
        REFUSED,
        None,
        "200 CONNECT a:1 Host:a:1",
        why="no forward proxy: HAProxy passes CONNECT on unless told otherwise",
    ),
    "TRACE": Row(
        REFUSED,
        None,
        "200 TRACE /a?b=c",
        "200 TRACE /a?b=c",
        why="TRACE would echo the identity that the API is told",
    ),
    "another expectation": Row(
        REFUSED,
        QUERY,
        "200 GET /a?b=c Expect:x",
        "200 GET /a?b=c Expect:x",
        why="RFC 9110 §10.1.1 allows 417; nginx takes the field out",
    ),
    "H2.CL: length 0": Row(
        REFUSED,
        "400 POST /a",
        why="malformed only by its content: the sidecar waits for its end, nginx passes the request on before, "
        "and so does Envoy when the content comes later",
        late="reset POST /a",
    ),
    "H2.TE: chunked": Row(
        REFUSED,
        "200 POST /a '0\\r\\n\\r\\nGET /admin HTTP/1.1\\r\\nHost: api.example\\r\\nX-Injected: y\\r\\n\\r\\n'",
        why="malformed by RFC 9113 §8.2.2; nginx ignores the field and passes the content on as content",
    ),
    "two slashes in :path": Row(
        REFUSED,
        "200 GET //other.example/admin",
        "200 GET //other.example/admin",
        "200 GET //other.example/admin",
        why=AMBIGUOUS,
    ),
    "dot segments in :path": Row(
        REFUSED, "200 GET /a/../admin", "200 GET /a/../admin", "200 GET /a/../admin", why=AMBIGUOUS
    ),
    "encoded dot segments in :path": Row(
        REFUSED,
        "200 GET /a/%2e%2e/admin",
        "200 GET /a/%2e%2e/admin",
        "200 GET /a/%2e%2e/admin",
        why=AMBIGUOUS,
    ),
    "a path in :authority": Row(
        REFUSED,
        None,
        "200 GET /admin?/a Host:api.example/admin?",
        why="no authority holds a path (RFC 3986 §3.2); HAProxy joins it and :path to another path",
    ),
    "another Host": Row(
        REFUSED,
        None,
        GET,
        GET,
        why="RFC 9113 §8.3.1: a server should refuse it; HAProxy and Envoy drop Host, and somebody behind may not",
    ),
    "Connection that names a field": Row(REFUSED, GET, why=CONNECTION),
    "upgrade to h2c": Row(REFUSED, GET, why=CONNECTION),
    "a request in the content of HEAD": Row(
        "200 HEAD /a 'GET /admin HTTP/1.1\\r\\nHost: api.example\\r\\nX-Injected: y\\r\\n\\r\\n'"
    ),
    "a request in the content of GET": Row(
        "200 GET /a 'GET /admin HTTP/1.1\\r\\nHost: api.example\\r\\nX-Injected: y\\r\\n\\r\\n'"
    ),
    "Host in trailers": Row(
        REFUSED,
        None,
        None,
        POST,
        why="framing and routing fields may not be trailers (RFC 9110 §6.5.1); Envoy drops them all",
    ),
    "content_length with an underscore": Row(
        "200 POST /a 'GET /admin HTTP/1.1\\r\\nHost: api.example\\r\\nX-Injected: y\\r\\n\\r\\n'"
    ),
    "transfer_encoding with an underscore": Row(
        "200 POST /a '0\\r\\n\\r\\nGET /admin HTTP/1.1\\r\\nHost: api.example\\r\\nX-Injected: y\\r\\n\\r\\n'"
    ),
}
