"""Every way in which RFC 9113 §8 calls a request malformed, and what becomes of those that are not.

No engine stands before these: each row is refused by the sidecar's own reading.
"""

import pytest

from sidecar.decision.denial import Reason
from sidecar.http import http2_field, intake
from sidecar.http.fields import FieldRules, RequestFields
from sidecar.http.http2_request import HeadReader, Http2Request, read_request
from sidecar.http.http2_trailers import read_trailers
from sidecar.http.message import Fault, Field, Request

GET: tuple[Field, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/a?b=c"),
    (b":authority", b"api.example"),
)
POST: tuple[Field, ...] = ((b":method", b"POST"), *GET[1:])


def read(
    *fields: Field, ends: bool = True, target: int = 8192, size: int = 32768, count: int = 100
) -> Http2Request:
    return read_request(fields, ends=ends, target_bytes=target, header_bytes=size, headers=count)


def changed(name: bytes, value: bytes | None) -> tuple[Field, ...]:
    """A request with another pseudo-header field, or without."""
    kept = tuple((each, value if each == name and value is not None else was) for each, was in GET)
    return tuple(each for each in kept if value is not None or each[0] != name)


def told(request: Request) -> str | Fault:
    """Host and target as the decision is told, or the fault of the intake."""
    head = intake.request_head(request, RequestFields(), FieldRules(()))
    return head if isinstance(head, Fault) else f"{head.host}{head.target}"


MALFORMED: dict[str, tuple[Field, ...]] = {
    "a name in upper case": (*GET, (b"X-A", b"1")),
    "a name with a space": (*GET, (b"x a", b"1")),
    "a name with a colon": (*GET, (b"x:a", b"1")),
    "a name with CR LF": (*GET, (b"x\r\na", b"1")),
    "a name with NUL": (*GET, (b"x\0a", b"1")),
    "an empty name": (*GET, (b"", b"1")),
    "a name outside of ASCII": (*GET, (b"x\xe4", b"1")),
    "a value with CR": (*GET, (b"x", b"a\rb")),
    "a value with LF": (*GET, (b"x", b"a\nb")),
    "a value with NUL": (*GET, (b"x", b"a\0b")),
    "a value with another control character": (*GET, (b"x", b"a\x01b")),
    "a value with DEL": (*GET, (b"x", b"a\x7fb")),
    "a value with a space before it": (*GET, (b"x", b" a")),
    "a value with a space behind it": (*GET, (b"x", b"a ")),
    "a value with a tab before it": (*GET, (b"x", b"\ta")),
    "a value with a tab behind it": (*GET, (b"x", b"a\t")),
    "no method": changed(b":method", None),
    "no scheme": changed(b":scheme", None),
    "no path": changed(b":path", None),
    "two methods": (GET[0], *GET),
    "two paths": (GET[2], *GET),
    "two authorities": (GET[3], *GET),
    "two schemes": (GET[1], *GET),
    "an unknown pseudo-header field": ((b":version", b"2"), *GET),
    "a pseudo-header field of responses": ((b":status", b"200"), *GET),
    "only a colon": ((b":", b"1"), *GET),
    "a pseudo-header field behind others": (*GET[:3], (b"x", b"1"), GET[3]),
    "an empty method": changed(b":method", b""),
    "a method with a space": changed(b":method", b"GET /b"),
    "a method with CR LF": changed(b":method", b"GET\r\nX: y"),
    "a method in lower case": changed(b":method", b"get"),
    "a method that nobody knows": changed(b":method", b"BREW"),
    "another scheme": changed(b":scheme", b"ftp"),
    "a scheme with CR LF": changed(b":scheme", b"https\r\nx: y"),
    "a scheme that is a URL": changed(b":scheme", b"https://b"),
    "an empty path": changed(b":path", b""),
    "a path without a slash": changed(b":path", b"a"),
    "an absolute URL for a path": changed(b":path", b"https://b/a"),
    "a path with a space": changed(b":path", b"/a HTTP/1.1"),
    "a path with CR LF": changed(b":path", b"/a\r\nx: y"),
    "a path with DEL": changed(b":path", b"/a\x7f"),
    "an authority with CR LF": changed(b":authority", b"a\r\nx: y"),
    "an empty authority": changed(b":authority", b""),
    "neither authority nor Host": changed(b":authority", None),
    "an empty Host alone": (*changed(b":authority", None), (b"host", b"")),
    "Host that differs from the authority": (*GET, (b"host", b"b.example")),
    "Host that differs by its port": (*GET, (b"host", b"api.example:443")),
    "two Hosts": (*changed(b":authority", None), (b"host", b"a"), (b"host", b"a")),
    "two Hosts and an authority": (*GET, (b"host", b"api.example"), (b"host", b"api.example")),
    "Connection": (*GET, (b"connection", b"close")),
    "Keep-Alive": (*GET, (b"keep-alive", b"timeout=5")),
    "Proxy-Connection": (*GET, (b"proxy-connection", b"close")),
    "Transfer-Encoding": (*POST, (b"transfer-encoding", b"chunked")),
    "Upgrade": (*GET, (b"upgrade", b"h2c")),
    "TE other than trailers": (*GET, (b"te", b"gzip")),
    "TE with more than trailers": (*GET, (b"te", b"trailers, gzip")),
    "a length and no content": (*POST, (b"content-length", b"3")),
    "two lengths that differ": (*POST, (b"content-length", b"0"), (b"content-length", b"1")),
    "two lengths that agree": (*POST, (b"content-length", b"0"), (b"content-length", b"0")),
    "a length with a sign": (*POST, (b"content-length", b"+0")),
    "a list of lengths": (*POST, (b"content-length", b"0,0")),
    "a length in hexadecimal": (*POST, (b"content-length", b"0x0")),
    "no number for a length": (*POST, (b"content-length", b"")),
    "a length of more than 18 digits": (*POST, (b"content-length", b"0" * 19)),
    "CONNECT with a path": changed(b":method", b"CONNECT"),
    "extended CONNECT": ((b":protocol", b"websocket"), *changed(b":method", b"CONNECT")),
    "CONNECT with a protocol alone": ((b":method", b"CONNECT"), (b":authority", b"a"), (b":protocol", b"x")),
    "a protocol without CONNECT": ((b":protocol", b"websocket"), *GET),
}


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_requests_are_refused(row: str) -> None:
    fault = told(read(*MALFORMED[row]))
    assert isinstance(fault, Fault)
    assert fault.reason is Reason.REQUEST_MALFORMED


OTHERWISE_REFUSED: dict[str, tuple[tuple[Field, ...], Reason]] = {
    "an authority with user information": (
        changed(b":authority", b"u@api.example"),
        Reason.REQUEST_MALFORMED,
    ),
    "an authority with a slash": (changed(b":authority", b"api.example/x"), Reason.REQUEST_MALFORMED),
    "an authority with a comma": (changed(b":authority", b"a,api.example"), Reason.REQUEST_MALFORMED),
    "a path with a fragment": (changed(b":path", b"/a#b"), Reason.PATH_AMBIGUOUS),
    "a path outside of ASCII": (changed(b":path", b"/\xe4"), Reason.PATH_AMBIGUOUS),
    "an asterisk with GET": (changed(b":path", b"*"), Reason.REQUEST_MALFORMED),
    "an asterisk and more": (changed(b":path", b"*/a"), Reason.REQUEST_MALFORMED),
    "plain CONNECT": (((b":method", b"CONNECT"), (b":authority", b"a:1")), Reason.METHOD_REFUSED),
    "TRACE": (changed(b":method", b"TRACE"), Reason.METHOD_REFUSED),
    "another expectation": ((*GET, (b"expect", b"x")), Reason.EXPECTATION_FAILED),
}


@pytest.mark.parametrize("row", OTHERWISE_REFUSED)
def test_what_no_version_may_ask_is_refused_as_over_http1(row: str) -> None:
    fields, reason = OTHERWISE_REFUSED[row]
    fault = told(read(*fields))
    assert isinstance(fault, Fault)
    assert fault.reason is reason


def test_a_request_reads_as_over_http1() -> None:
    request = read(*GET, (b"accept", b"*/*"))
    assert told(request) == "api.example/a?b=c"
    assert (request.method, request.complete, request.chunked) == ("GET", True, False)
    assert request.fields == [(b"accept", b"*/*"), (b"host", b"api.example")]


def test_host_stands_for_the_authority_and_may_repeat_it() -> None:
    assert told(read(*changed(b":authority", None), (b"host", b"b:80"))) == "b/a?b=c"
    assert told(read(*GET, (b"host", b"API.example"))) == "api.example/a?b=c"


def test_a_proxy_may_have_got_it_in_the_clear() -> None:
    assert read(*changed(b":scheme", b"http")).fault is None


def test_an_asterisk_is_for_options() -> None:
    fields = ((b":method", b"OPTIONS"), (b":scheme", b"https"), (b":path", b"*"), (b":authority", b"a"))
    assert told(read(*fields)) == "a*"


def test_crumbs_of_a_cookie_become_one() -> None:
    request = read(*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"))
    assert (b"cookie", b"a=1; b=2") in request.fields
    assert sum(name == b"cookie" for name, _ in request.fields) == 1


def test_content_of_unknown_length_goes_on_in_chunks() -> None:
    assert read(*POST, ends=False).chunked
    known = read(*POST, (b"content-length", b"3"), ends=False)
    assert (known.chunked, known.complete, known.fault) == (False, False, None)


@pytest.mark.parametrize(("fields", "said"), [(POST, True), (GET, False)])
def test_a_method_made_for_content_says_that_there_is_none(fields: tuple[Field, ...], *, said: bool) -> None:
    assert ((b"content-length", b"0") in read(*fields).fields) is said


def test_te_trailers_passes() -> None:
    assert (b"te", b"trailers") in read(*GET, (b"te", b"trailers")).fields


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"target": 5}, Reason.TARGET_TOO_LONG),
        ({"size": 20}, Reason.HEADER_TOO_LARGE),
        ({"count": 1}, Reason.HEADER_TOO_LARGE),
    ],
)
def test_what_is_over_a_limit_is_refused(limits: dict[str, int], reason: Reason) -> None:
    fault = read(*GET, (b"x", b"y" * 20), **limits).fault  # type: ignore[arg-type]
    assert fault is not None
    assert fault.reason is reason


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"Application/GRPC; x=y", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/json", False),
    ],
)
def test_grpc_is_known_by_its_content_type(kind: bytes, *, expected: bool) -> None:
    assert read(*POST, (b"content-type", kind), ends=False).is_grpc is expected


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"2H", 7200.0),
        (b"3M", 180.0),
        (b"5S", 5.0),
        (b"20m", 0.02),
        (b"7u", 7e-6),
        (b"9n", 9e-9),
        (b"1", 0.0),
    ],
)
def test_the_time_that_a_grpc_client_waits_is_read(said: bytes, seconds: float) -> None:
    assert read(*POST, (b"grpc-timeout", said), ends=False).grpc_timeout == pytest.approx(seconds)


def test_a_client_may_say_how_urgent_it_is() -> None:
    assert read(*GET, (b"priority", b"u=1")).is_prioritized
    assert not read(*GET).is_prioritized


@pytest.mark.parametrize(
    "field",
    [
        (b":path", b"/b"),
        (b"content-length", b"3"),
        (b"transfer-encoding", b"chunked"),
        (b"host", b"b"),
        (b"te", b"trailers"),
        (b"connection", b"x"),
        (b"X", b"y"),
        (b"x", b"a\r\nb: c"),
    ],
)
def test_trailers_that_frame_or_route_are_malformed(field: Field) -> None:
    request = read(*POST, ends=False)
    read_trailers(request, (field,), 100)
    assert request.fault is not None
    assert request.fault.reason is Reason.REQUEST_MALFORMED


def test_trailers_end_the_request_and_have_their_limit() -> None:
    request = read(*POST, ends=False)
    read_trailers(request, ((b"x-sum", b"1"),), 10)
    assert (request.complete, request.fault, request.trailers) == (True, None, [(b"x-sum", b"1")])
    read_trailers(request, ((b"x-sum", b"12"),), 10)
    assert request.fault is not None
    assert request.fault.reason is Reason.HEADER_TOO_LARGE


PROPER: dict[str, tuple[Field, ...]] = {
    "a request": GET,
    "a field": (*GET, (b"x", b"y")),
    "a call": (*POST, (b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"grpc-timeout", b"5S")),
    "a token": (*GET, (b"authorization", b"Bearer a.b.c"), (b"x", b"y")),
    "another order": (*reversed(GET), (b"x", b"y"), (b"authorization", b"Bearer a.b.c")),
    "a Host in the place of :authority": (
        *(field for field in GET if field[0] != b":authority"),
        (b"host", b"api.example"),
        (b"authorization", b"Bearer a.b.c"),
        (b"x", b"y"),
    ),
    "moved fields": (*GET, (b"cookie", b"a=1"), (b"host", b"api.example"), (b"cookie", b"b=2"), (b"x", b"y")),
    "a length": (*POST, (b"content-length", b"0"), (b"priority", b"u=1")),
    "nothing": (),
}
HEADS: dict[str, tuple[Field, ...]] = (
    PROPER | MALFORMED | {row: found[0] for row, found in OTHERWISE_REFUSED.items()}
)


MORE: tuple[Field, ...] = (
    (b"x-mine", b"1"), (b"x_mine", b"2"), (b"authorization", b"Bearer a.b.c"), (b"dpop", b"proof"), (b"via", b"2 x"),
    (b"origin", b"https://a.example"), (b"traceparent", b"00-1"), (b"x-request-id", b"r"), (b"te", b"trailers"),
    (b"expect", b"100-continue"), (b"access-control-request-method", b"PUT"), (b"client-cert", b":AA==:"),
)  # fmt: skip
"""Fields of every kind that is more than passed on."""


def everything(request: Http2Request) -> dict[str, object]:
    told = {name: getattr(request, name) for name in dir(request) if not name.startswith("__")}
    told = {name: value for name, value in told.items() if not callable(value) and name != "whole"}
    decoded = told.pop("authorization")
    for name, value in request.fields:
        assert decoded is None or name != b"authorization" or decoded.of(value) == value.decode("latin-1")
    assert {"fields", "fault", "head_bytes", "is_grpc", "method", "target"} <= told.keys()
    return told


@pytest.mark.parametrize("rests", [False, True])
@pytest.mark.parametrize("before", HEADS)
def test_a_head_reads_alike_after_any_other(before: str, *, rests: bool) -> None:
    """What is known from the head before saves work, and excuses nothing."""
    reader = HeadReader()
    for row, fields in HEADS.items():
        for each in (HEADS[before], fields):
            got = reader.read(each, ends=True, target_bytes=8192, header_bytes=32768, headers=100)
            assert everything(got) == everything(read(*each)), row
            if rests:
                reader.rest()


@pytest.mark.parametrize(
    "fields",
    [
        (*GET, (b"x", b"y" * 9000)),
        changed(b":path", b"/" + b"a" * 9000),
        changed(b":authority", b"a" * 9000),
        (*GET, *((b"x", b"y" * 100) for _ in range(90))),
    ],
    ids=["value", "path", "authority", "number"],
)
def test_a_large_head_is_not_kept_for_the_next(fields: tuple[Field, ...]) -> None:
    reader = HeadReader()
    for each in (GET, fields):
        assert reader.read(each, ends=True, target_bytes=9999, header_bytes=32768, headers=100).fault is None
        assert reader._last == (GET if each is GET else ())


def test_a_head_with_the_same_fields_gets_the_same_objects_until_the_connection_is_idle() -> None:
    """Its token is decoded once."""
    reader, seen = HeadReader(), []
    for number in range(4):
        if number == 3:
            reader.rest()
            assert (reader._block, reader._value, reader._kinds) == ((), b"", [])
        fields = (*GET, (b"authorization", bytes([*b"Bearer a.b.c"])))
        request = reader.read(fields, ends=True, target_bytes=99, header_bytes=999, headers=9)
        value = dict(request.fields)[b"authorization"]
        text = None if request.authorization is None else request.authorization.of(value)
        seen.append((value, text))
    (first, untold), (second, text), (third, again), (other, told) = seen
    assert first is second is third is not other
    assert text is again
    assert (untold, text, told) == (None, "Bearer a.b.c", None)


@pytest.mark.parametrize("row", HEADS)
def test_a_head_that_comes_again_as_the_same_object_is_read_anew_for_each_request(row: str) -> None:
    """Whatever became of the requests before: nothing of them is in the next."""
    reader, fields = HeadReader(), HEADS[row]
    for ends in (True, True, True, False, False, False, True):
        got = reader.read(fields, ends=ends, target_bytes=8192, header_bytes=32768, headers=100)
        assert everything(got) == everything(read(*fields, ends=ends))
        got.fields.append((b"x-other", b"1"))
        got.chunks.append(b"content")
        got.chunked, got.defers, got.method, got.target = not got.chunked, not got.defers, "PUT", b"/other"
        got.fault = Fault(Reason.REQUEST_MALFORMED, "")
        tight = reader.read(fields, ends=ends, target_bytes=1, header_bytes=32768, headers=100)
        assert tight.fault == read(*fields, ends=ends, target=1).fault
    reader.rest()
    assert reader._whole is None


@pytest.mark.parametrize("row", HEADS)
def test_fields_that_come_again_are_sorted_by_the_rules_in_force(row: str) -> None:
    """As those of a request that nobody has seen before, whatever became of the sorted fields before."""
    reader, head = HeadReader(), (*HEADS[row], *MORE)
    rules, others = FieldRules(()), FieldRules(("X-Mine",))
    for used in (rules, rules, rules, rules, others, others, rules):
        request = reader.read(head, ends=True, target_bytes=8192, header_bytes=32768, headers=100)
        fields, fresh = RequestFields(), RequestFields()
        said = intake.request_head(request, fields, used)
        expected = intake.request_head(read(*head), fresh, used)
        assert everything_of(fields) == everything_of(fresh)
        assert isinstance(said, Fault) == isinstance(expected, Fault)
        fields.hosts, fields.claims, fields.expect, fields.kept = [b"other"], [], b"", []
        fields.takes_trailers, fields.content_length, fields.dropped = False, 7, 9


def everything_of(fields: RequestFields) -> dict[str, object]:
    told = {name: getattr(fields, name) for name in dir(fields) if not name.startswith("_")}
    told = {name: value for name, value in told.items() if not callable(value)}
    assert {"kept", "hosts", "authorization", "content_length", "fault"} <= told.keys()
    return told


def test_a_target_is_known_by_itself_and_its_host_until_the_connection_is_idle() -> None:
    reader = HeadReader()
    others = [
        GET,
        changed(b":path", b"/a?b=d"),
        changed(b":path", b"/b?b=c"),
        changed(b":authority", b"other.example"),
        changed(b":path", b"*"),
        changed(b":path", b"/#"),
        tuple((name, b"OPTIONS" if name == b":method" else value) for name, value in changed(b":path", b"*")),
    ]
    for one in others:
        for other in others:
            for fields in (one, one, one, other, other, one):
                request = reader.read(fields, ends=True, target_bytes=99, header_bytes=999, headers=9)
                assert told(request) == told(read(*fields))
    assert (
        told(reader.read(GET, ends=True, target_bytes=99, header_bytes=999, headers=9)) == "api.example/a?b=c"
    )
    reader.rest()
    assert reader.parsed(b"/a?b=c", b"api.example") is None


def test_names_that_strangers_choose_do_not_fill_the_memory() -> None:
    for number in range(http2_field._MOST_KNOWN + 5):
        assert read(*GET, (b"x-%d" % number, b"1")).fault is None
    assert len(http2_field._KNOWN_NAMES) <= http2_field._MOST_KNOWN
    assert read(*GET, (b"x" * 200, b"1")).fault is None
    assert b"x" * 200 not in http2_field._KNOWN_NAMES
    for row, fields in MALFORMED.items():
        assert read(*fields).fault is not None, row
