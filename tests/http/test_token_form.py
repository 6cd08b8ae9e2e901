"""The form of a token request: one meaning for every reader, or a refusal."""

import base64
import json
import tracemalloc
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.denial import Denied, Reason
from sidecar.decision.registered_client.token_request import ClaimedMethod, TokenRequest
from sidecar.decision.request import RequestHead
from sidecar.http import token_form
from sidecar.http.token_form import MOST_BYTES, read_form

FORM = "application/x-www-form-urlencoded"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def read(
    body: str | bytes,
    *authorization: str,
    types: tuple[str, ...] = (FORM,),
    method: str = "POST",
    path: str = "/token",
    query: str = "",
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> TokenRequest:
    target = f"{path}?{query}" if query else path
    head = RequestHead(method, target, path, query, "as.example.com", authorization=authorization)
    fields = [(b"Content-Type", one.encode("latin-1")) for one in types]
    return read_form(head, [*fields, *more], body.encode() if isinstance(body, str) else body)


def refused(*args: Any, **kwargs: Any) -> Denied:
    with pytest.raises(Denied) as caught:
        read(*args, **kwargs)
    return caught.value


def basic(user: str, secret: str = "s3cret") -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def assertion(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'ES256'})}.{part(claims)}.c2ln"


def asserted(value: str, more: str = "") -> str:
    return urlencode({"client_assertion_type": JWT_BEARER, "client_assertion": value}) + more


def test_form_is_read_and_its_bytes_are_kept() -> None:
    body = b"grant_type=client_credentials&client_id=tpp-1&scope=a+b%20c&empty=&resource=x&resource=y"
    request = read(body)
    assert (request.client_id, request.method, request.body) == ("tpp-1", ClaimedMethod.NONE, body)
    assert request.parameters == {
        "grant_type": ("client_credentials",), "client_id": ("tpp-1",), "scope": ("a b c",), "resource": ("x", "y"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "media_type",
    [
        FORM, FORM.upper(), f"{FORM};charset=UTF-8", f'{FORM} ; charset="utf-8"', f"{FORM};",
        f"{FORM}; Charset = utf-8 ",
    ],
)  # fmt: skip
def test_charset_is_allowed(media_type: str) -> None:
    assert read("client_id=a", types=(media_type,)).client_id == "a"


@pytest.mark.parametrize(
    "types",
    [
        (), (FORM, FORM), ("application/json",), ("",), (f"{FORM};charset=iso-8859-1",), (f"{FORM};charset=utf-7",),
        (f"{FORM}, application/json",), (f"{FORM};boundary=x",), ("multipart/form-data",), (f"{FORM}x",),
    ],
)  # fmt: skip
def test_another_content_type_is_refused(types: tuple[str, ...]) -> None:
    failed = refused("client_id=a", types=types)
    assert (failed.reason, failed.failure.check) == (Reason.FORM_MALFORMED, "Content-Type")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("client_id=a&client_id=a", Reason.PARAMETER_REPEATED),
        ("client_id=a&client_id=", Reason.PARAMETER_REPEATED),
        ("client_id=a&client%5Fid=b", Reason.PARAMETER_REPEATED),
        ("client_id=a&grant_type=x&grant_type=y", Reason.PARAMETER_REPEATED),
        ("client_id=a&scope=x&SCOPE=y", Reason.PARAMETER_REPEATED),
        ("client_id=a&x.y=1&x_y=2", Reason.PARAMETER_REPEATED),
        ("client_id=a&resource=x&Resource=y", Reason.PARAMETER_REPEATED),
        ("client_id=a&Client_Id=b", Reason.FORM_MALFORMED),
        ("CLIENT_ID=b", Reason.FORM_MALFORMED),
        ("client.id=b", Reason.FORM_MALFORMED),
        ("client_id=a&Client_Secret=b", Reason.FORM_MALFORMED),
        ("client_id=a;client_id=b", Reason.FORM_MALFORMED),
        ("client_id=a&scope=x;y", Reason.FORM_MALFORMED),
        ("client_id=a&", Reason.FORM_MALFORMED),
        ("client_id=a&&x=1", Reason.FORM_MALFORMED),
        ("client_id=a&=1", Reason.FORM_MALFORMED),
        ("client_id=a&x[]=1", Reason.FORM_MALFORMED),
        ("client_id=a&client_id[]=b", Reason.FORM_MALFORMED),
        ("client_id=a&%20client_id=b", Reason.FORM_MALFORMED),
        ("client_id=a&+x=b", Reason.FORM_MALFORMED),
        ("client_id=a&x%00=b", Reason.FORM_MALFORMED),
        ("client_id=a%00", Reason.FORM_MALFORMED),
        ("client_id=a&x=%0", Reason.FORM_MALFORMED),
        ("client_id=a&x=%zz", Reason.FORM_MALFORMED),
        ("client_id=a&x=%u0061", Reason.FORM_MALFORMED),
        ("client_id=a&x=%ff", Reason.FORM_MALFORMED),
        ("client_id=a&x=%c0%af", Reason.FORM_MALFORMED),
        ("client_id=%C3%A4", Reason.FORM_MALFORMED),
        ("client_id=a%0A", Reason.FORM_MALFORMED),
        ("client_id=a&x=b c", Reason.FORM_MALFORMED),
        ("client_id=a\r\n", Reason.FORM_MALFORMED),
        ("client_id=ä", Reason.FORM_MALFORMED),
        ("client_id=a&" + "&".join(f"x{n}=1" for n in range(256)), Reason.FORM_MALFORMED),
        ("{}", Reason.FORM_MALFORMED),
        ("", Reason.CLIENT_ID_MISSING),
        ("grant_type=client_credentials", Reason.CLIENT_ID_MISSING),
        ("client_id=", Reason.CLIENT_ID_MISSING),
        ("client_id", Reason.CLIENT_ID_MISSING),
        ("x=" + "a" * MOST_BYTES, Reason.BODY_TOO_LARGE),
    ],
)
def test_form_of_two_meanings_or_none_is_refused(body: str, reason: Reason) -> None:
    failed = refused(body)
    assert failed.reason is reason
    assert failed.failure.presented.isascii()


def test_only_post_is_a_request_to_an_endpoint() -> None:
    """RFC 6749 §3.2."""
    for method in ("GET", "PUT", "post"):
        assert refused("client_id=a", method=method).reason is Reason.FORM_MALFORMED


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, deflate", "Deflate", "x-unknown"])
def test_form_in_a_content_coding_is_refused(coding: str) -> None:
    """A deflate stream of letters and digits is a form for us, and another one for a server that inflates it."""
    denied = refused("client_id=a", more=((b"Content-Encoding", coding.encode()),))
    assert (denied.reason, denied.failure.check) == (Reason.FORM_MALFORMED, "Content-Encoding")


@pytest.mark.parametrize("coding", ["", "identity", "IDENTITY"])
def test_form_that_is_said_to_be_in_no_coding_is_read(coding: str) -> None:
    assert read("client_id=a", more=((b"content-encoding", coding.encode()),)).client_id == "a"


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x-http-method", "X-METHOD-OVERRIDE"])
def test_method_is_not_another_by_a_field(name: str) -> None:
    """RFC 6749 §3.2: some frameworks take the method from there."""
    denied = refused("client_id=a", more=((name.encode(), b"GET"),))
    assert (denied.reason, denied.failure.check) == (Reason.FORM_MALFORMED, "method")


def test_path_parameters_are_refused() -> None:
    assert refused("client_id=a", path="/token;client_id=b").reason is Reason.FORM_MALFORMED


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("client_id=a", Reason.CLIENT_ID_MISMATCH),
        ("x=1;client_id=a", Reason.CLIENT_ID_MISMATCH),
        ("Client%5Fid=a", Reason.CLIENT_ID_MISMATCH),
        ("client.id=a", Reason.CLIENT_ID_MISMATCH),
        ("client_secret=a", Reason.CLIENT_ID_MISMATCH),
        ("client_assertion=a", Reason.CLIENT_ID_MISMATCH),
        ("client_assertion_type=a", Reason.CLIENT_ID_MISMATCH),
        ("grant_type=x", Reason.PARAMETER_REPEATED),
        ("GRANT_TYPE=x", Reason.PARAMETER_REPEATED),
    ],
)
def test_credentials_and_other_parameters_stand_in_the_body_alone(query: str, reason: Reason) -> None:
    """RFC 6749 §2.3.1."""
    assert refused("client_id=a&grant_type=x", query=query).reason is reason


def test_query_of_other_names_passes() -> None:
    assert read("client_id=a", query="tenant=7").client_id == "a"


@pytest.mark.parametrize(
    ("body", "authorization", "method"),
    [
        ("client_id=a", (), ClaimedMethod.NONE),
        ("client_id=a&client_secret=", (), ClaimedMethod.NONE),
        ("client_id=a&client_assertion=&client_assertion_type=", (), ClaimedMethod.NONE),
        ("client_id=a&client_secret=s", (), ClaimedMethod.SECRET),
        ("client_id=a&client_assertion=x", (), ClaimedMethod.ASSERTION),
        ("client_id=a", (basic("a"),), ClaimedMethod.AUTHORIZATION),
        ("", (basic("a"),), ClaimedMethod.AUTHORIZATION),
        ("", (basic("a", ""),), ClaimedMethod.AUTHORIZATION),
        ("client_id=a", ("Bearer x",), ClaimedMethod.AUTHORIZATION),
        ("client_id=a", ("",), ClaimedMethod.AUTHORIZATION),
        ("client_id=a&client_secret=", (basic("a"),), ClaimedMethod.AUTHORIZATION),
        (asserted(assertion(iss="a", sub="a")), (), ClaimedMethod.ASSERTION),
    ],
)
def test_client_claims_one_method(body: str, authorization: tuple[str, ...], method: ClaimedMethod) -> None:
    request = read(body, *authorization)
    assert (request.client_id, request.method) == ("a", method)


@pytest.mark.parametrize(
    ("body", "authorization"),
    [
        ("client_id=a&client_secret=s", (basic("a"),)),
        ("client_id=a&client_secret=s", ("Bearer x",)),
        ("client_id=a&client_secret=s&client_assertion=x", ()),
        ("client_id=a&client_assertion=x", (basic("a"),)),
        ("client_id=a", (basic("a"), basic("a"))),
    ],
)
def test_two_methods_are_refused(body: str, authorization: tuple[str, ...]) -> None:
    """RFC 6749 §2.3."""
    assert refused(body, *authorization).reason is Reason.CLIENT_AUTHENTICATION_REPEATED


@pytest.mark.parametrize(
    ("body", "authorization", "reason"),
    [
        ("client_id=a", (basic("b"),), Reason.CLIENT_ID_MISMATCH),
        ("client_id=A", (basic("a"),), Reason.CLIENT_ID_MISMATCH),
        (asserted(assertion(iss="b", sub="b"), "&client_id=a"), (), Reason.CLIENT_ID_MISMATCH),
        (asserted(assertion(iss="a", sub="b")), (), Reason.CLIENT_ID_MISMATCH),
        (asserted(assertion(sub="b")), (), Reason.CLIENT_ID_MISMATCH),
        (asserted(assertion(iss="a")), (), Reason.FORM_MALFORMED),
        (asserted(assertion(iss="a", sub=["a"])), (), Reason.FORM_MALFORMED),
        (asserted("a.b"), (), Reason.FORM_MALFORMED),
        (asserted("a.!.b"), (), Reason.FORM_MALFORMED),
        (asserted("a.W10.b"), (), Reason.FORM_MALFORMED),
        ("client_assertion=x&client_assertion_type=urn:other", (), Reason.CLIENT_ID_MISSING),
        ("", ("Bearer x",), Reason.CLIENT_ID_MISSING),
        ("client_id=a", ("Basic !",), Reason.FORM_MALFORMED),
        ("client_id=a", ("Basic ä",), Reason.FORM_MALFORMED),
        ("client_id=a", ("Basic " + base64.b64encode(b"a").decode(),), Reason.FORM_MALFORMED),
        ("client_id=a", ("Basic " + base64.b64encode(b":s").decode(),), Reason.FORM_MALFORMED),
        ("client_id=a", (basic("a%2"),), Reason.FORM_MALFORMED),
        ("client_id=a", (basic("a%ff"),), Reason.FORM_MALFORMED),
    ],
)
def test_client_is_the_same_everywhere(body: str, authorization: tuple[str, ...], reason: Reason) -> None:
    assert refused(body, *authorization).reason is reason


def test_basic_parts_are_form_encoded() -> None:
    """RFC 6749 §2.3.1."""
    assert read("", basic("a%20b%3Ac")).client_id == "a b:c"
    assert read("client_id=a+b", basic("a+b")).client_id == "a b"
    assert read("", "basic  " + basic("a").partition(" ")[2]).client_id == "a"


def test_name_that_came_twice_is_shown_within_bounds() -> None:
    name = "n" * 5000
    assert refused(f"client_id=a&{name}=1&{name}=2").failure.presented == "n" * 64
    assert refused(f"client_id=a&{name}=1", query=name).failure.presented == "n" * 64


def test_refusal_quotes_no_value_that_was_sent() -> None:
    for body in (
        "client_id=a&client_secret=s3cret&client_assertion=s3cret", "x=s3cret%zz", "x=s3cret&x=s3cret", "[=s3cret",
    ):  # fmt: skip
        failure = refused(body).failure
        assert "s3cret" not in f"{failure.check} {failure.expected} {failure.presented}"


NAMES = st.text("abcdefghijklmnopqrstuvwxyz_-", min_size=1, max_size=8)


@given(
    st.dictionaries(
        NAMES, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
    )
)
def test_what_a_client_library_sends_is_read_as_the_urllib_reads_it(parameters: dict[str, str]) -> None:
    parameters = {name: value for name, value in parameters.items() if "client_" not in name} | {
        "client_id": "a"
    }
    body = urlencode(parameters)
    found = read(body).parameters
    assert {name: values[0] for name, values in found.items()} == dict(parse_qsl(body, strict_parsing=True))


# --- what is remembered of parameters


def test_form_that_was_read_before_is_read_the_same() -> None:
    body = "grant_type=client_credentials&client_id=tpp-1&scope=a%20b&resource=x&resource=y&audience=&extra=z"
    first, second = read(body), read(body)
    assert (first.client_id, first.parameters) == (second.client_id, second.parameters)
    for _ in range(2):
        assert refused(f"{body}&client_id=tpp-1").reason is Reason.PARAMETER_REPEATED
        assert refused(f"{body}&scope=a%20b").reason is Reason.PARAMETER_REPEATED
        assert refused("grant_type=x&client_id=%00").reason is Reason.FORM_MALFORMED
        assert refused("CLIENT_ID=tpp-1").reason is Reason.FORM_MALFORMED
    assert read("client_id=tpp-2&resource=x").parameters == {"client_id": ("tpp-2",), "resource": ("x",)}


def test_no_secret_is_remembered() -> None:
    secrets = [
        "client_secret", "client_assertion", "code", "refresh_token", "password", "assertion", "token", "code_verifier",
    ]  # fmt: skip
    for name in secrets:
        value = assertion(iss="tpp-1", sub="tpp-1") if name == "client_assertion" else f"never-{name}-kept"
        kind = urlencode({"client_assertion_type": JWT_BEARER}) + "&" if name == "client_assertion" else ""
        read(f"{kind}grant_type=x&client_id=tpp-1&{name}={value}")
        assert not any(value.encode() in pair for pair in token_form._read)
    assert b"client_id=tpp-1" in token_form._read


def test_what_is_remembered_is_bounded() -> None:
    for number in range(3000):
        read(f"client_id=c{number}&scope=" + "x" * 300)
    assert len(token_form._read) <= 1024
    assert max(map(len, token_form._read)) <= 256


def test_names_of_whoever_connects_take_a_bounded_part_of_the_memory() -> None:
    """A name that was read is remembered, before anybody knows who sent it."""
    tracemalloc.start()
    for at in range(300):
        assert read(f"client_id=a&{at}{'n' * 50_000}=x".encode()).client_id == "a"
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held <= 1 << 20
