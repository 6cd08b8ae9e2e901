"""gRPC through the sidecar's own process, with grpcio at both ends: four kinds of call, each permitted, refused,
expiring, without its API, and too large.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.real.grpc_api import SERVICE, GrpcApi
from tests.support.mint import SigningKey
from tests.support.pki import Pki, certificate_pem
from tests.support.sidecar import Sidecar, issuer, listener, policy

pytestmark = pytest.mark.real

KINDS = ["unary", "join", "count", "echo"]
_RULES: list[dict[str, Any]] = [
    {"name": "health", "match": {"grpc": {"service": "grpc.health.v1.Health"}}, "public": True},
    {
        "name": "reflection",
        "match": {"grpc": {"service": "grpc.reflection.*.ServerReflection"}},
        "require": {"scopes": ["developer"]},
    },
    {"name": "talk", "match": {"grpc": {"service": SERVICE}}, "require": {"scopes": ["accounts:read"]}},
]


@dataclass
class Caller:
    """A client with a certificate; calls by kind."""

    channel: grpc.Channel

    def call(
        self,
        kind: str,
        token: str | None,
        *sent: bytes,
        timeout: float = 60.0,
        pieces: Iterator[bytes] | None = None,
    ) -> list[bytes]:
        """What came. Raises `grpc.RpcError`."""
        metadata = [("authorization", f"Bearer {token}")] if token is not None else []
        path = f"/{SERVICE}/{kind}"
        options: dict[str, Any] = {"metadata": metadata, "timeout": timeout}
        if kind == "unary":
            return [self.channel.unary_unary(path)(sent[0], **options)]
        if kind == "join":
            return [self.channel.stream_unary(path)(pieces or iter(sent), **options)]
        if kind == "count":
            return list(self.channel.unary_stream(path)(sent[0], **options))
        return list(self.channel.stream_stream(path)(pieces or iter(sent), **options))


@pytest.fixture(scope="module")
def api() -> Iterator[GrpcApi]:
    with GrpcApi() as made:
        yield made


Start = Callable[..., Caller]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Start]:
    """Sidecars in front of an API of gRPC, and a caller of each."""
    started: list[Sidecar] = []
    channels: list[grpc.Channel] = []

    def of(url: str, protocol: str = "h2", **limits: object) -> Caller:
        folder = tmp_path_factory.mktemp("grpc")
        made = Sidecar(
            folder, pki, url, keys=[signing_key], policy_document=policy(_RULES, [issuer(clock_skew="0s")])
        )
        document = made.service_document(url)
        document["listeners"] = [listener(made.port) | {"protocols": ["h2"]}]
        document["upstream"] = {"url": url, "protocol": protocol}
        document["limits"] = limits
        made.write_service(document)
        started.append(made.start())
        credentials = grpc.ssl_channel_credentials(
            certificate_pem(pki.server_authority.certificate), pki.client.key_pem, pki.client.pem
        )
        channel = grpc.secure_channel(f"localhost:{made.port}", credentials)
        channels.append(channel)
        return Caller(channel)

    yield of
    for channel in channels:
        channel.close()
    for one in started:
        one.stop()


@pytest.fixture(scope="module")
def caller(start: Start, api: GrpcApi) -> Caller:
    return start(api.url)


@pytest.fixture(scope="module")
def narrow(start: Start, api: GrpcApi) -> Caller:
    """Hardly anything may be sent."""
    return start(api.url, body_bytes=10)


@pytest.fixture(scope="module")
def abandoned(start: Start) -> Caller:
    """The API was there when the sidecar started."""
    with GrpcApi() as gone:
        return start(gone.url)


@pytest.fixture
def token(pki: Pki, signing_key: SigningKey) -> str:
    return signing_key.token(pki.client)


def refusal(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


SENT = {"unary": (b"hello",), "join": (b"one", b"two"), "count": (b"3",), "echo": (b"one", b"two")}
GOT = {"unary": [b"hello"], "join": [b"onetwo"], "count": [b"0", b"1", b"2"], "echo": [b"one", b"two"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_permitted_call_passes(caller: Caller, token: str, kind: str) -> None:
    assert caller.call(kind, token, *SENT[kind]) == GOT[kind]


def test_large_messages_pass_both_ways(caller: Caller, token: str) -> None:
    pieces = [bytes([number]) * 1_000_000 for number in range(5)]
    assert caller.call("echo", token, *pieces) == pieces


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_without_a_token_is_unauthenticated_and_says_why(
    caller: Caller, api: GrpcApi, kind: str
) -> None:
    calls = api.talk.calls
    error = refusal(lambda: caller.call(kind, None, *SENT[kind]))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error.details().startswith("credentials_missing: ")
    metadata = dict([*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())])
    assert metadata["www-authenticate"].startswith("Bearer")
    assert metadata["x-request-id"]
    assert api.talk.calls == calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_without_the_scope_is_not_permitted(
    caller: Caller, pki: Pki, signing_key: SigningKey, kind: str
) -> None:
    weak = signing_key.token(pki.client, scope="other")
    error = refusal(lambda: caller.call(kind, weak, *SENT[kind]))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details().startswith("scope_insufficient: ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stolen_token_is_unauthenticated(
    caller: Caller, pki: Pki, signing_key: SigningKey, kind: str
) -> None:
    stolen = signing_key.token(pki.other_client)
    error = refusal(lambda: caller.call(kind, stolen, *SENT[kind]))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error.details().startswith("binding_mismatch: ")


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_api_a_call_is_unavailable(abandoned: Caller, token: str, kind: str) -> None:
    error = refusal(lambda: abandoned.call(kind, token, *SENT[kind]))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details().startswith("upstream_refused: ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_is_too_large_exhausts_a_resource(narrow: Caller, token: str, kind: str) -> None:
    error = refusal(lambda: narrow.call(kind, token, b"0" * 100))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details().startswith("body_too_large: ")


ENDS_IN = (4, 20, 60)
"""Seconds until a token ends: a machine on which no call begins in that time is given more."""


@pytest.mark.parametrize("kind", ["join", "count", "echo"])
def test_a_stream_ends_with_its_token(
    caller: Caller, api: GrpcApi, pki: Pki, signing_key: SigningKey, kind: str
) -> None:
    def has_ended(seconds: int) -> bool:
        """Whether the API had the call before the token ended."""
        short, calls = signing_key.token(pki.client, exp=int(time.time()) + seconds), api.talk.calls
        api.talk.cancelled.clear()
        ended = threading.Event()

        def pieces() -> Iterator[bytes]:
            yield b"one"
            ended.wait(120)

        try:
            error = refusal(lambda: caller.call(kind, short, b"03", timeout=120.0, pieces=pieces()))
        finally:
            ended.set()
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert error.details().startswith("token_expired: ")
        return api.talk.calls > calls

    assert any(has_ended(seconds) for seconds in ENDS_IN)
    assert api.talk.cancelled.wait(60), "the API hears that nobody listens"


def test_a_unary_call_that_the_api_has_in_full_is_answered_when_its_token_ends_and_the_next_is_refused(
    caller: Caller, api: GrpcApi, pki: Pki, signing_key: SigningKey
) -> None:
    """It may have been acted on: to be told UNAUTHENTICATED would ask the caller to send it again."""

    def is_answered(seconds: int) -> bool:
        """Whether the call came in time; then it is answered after its token has ended."""
        ends, calls = int(time.time()) + seconds, api.talk.calls
        short = signing_key.token(pki.client, exp=ends)
        later = b"until %d" % (ends + 2)
        try:
            assert caller.call("unary", short, later, timeout=120.0) == [later]
        except grpc.RpcError:
            assert api.talk.calls == calls, "what the API has is answered"
            return False
        error = refusal(lambda: caller.call("unary", short, b"hello"))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert error.details().startswith("token_expired: ")
        return True

    assert any(is_answered(seconds) for seconds in ENDS_IN)


def test_a_deadline_is_kept_on_the_way(caller: Caller, api: GrpcApi, token: str) -> None:
    error = refusal(lambda: caller.call("count", token, b"03", timeout=1.0))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_what_the_api_says_of_a_failure_arrives(caller: Caller, token: str) -> None:
    error = refusal(lambda: caller.call("unary", token, b"fail"))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "as asked: 100 %"
    assert dict(error.trailing_metadata())["x-why"] == "asked to"


def test_the_health_service_is_a_rule_like_any(caller: Caller) -> None:
    stub = health_pb2_grpc.HealthStub(caller.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_is_for_developers(caller: Caller, pki: Pki, signing_key: SigningKey) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(caller.channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")

    def services(scope: str) -> list[str]:
        token = signing_key.token(pki.client, scope=scope)
        metadata = [("authorization", f"Bearer {token}")]
        answers = stub.ServerReflectionInfo(iter([asked]), metadata=metadata, timeout=60)
        return [one.name for answer in answers for one in answer.list_services_response.service]

    assert SERVICE in services("developer")
    error = refusal(lambda: services("accounts:read"))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details().startswith("scope_insufficient: ")


def test_a_permitted_call_to_an_api_of_http_1_is_unimplemented(
    start: Start, api: GrpcApi, token: str
) -> None:
    error = refusal(lambda: start(api.url, "http/1.1").call("unary", token, b"hello"))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error.details().startswith("grpc_unsupported: ")


def test_what_no_rule_names_is_not_permitted(caller: Caller, token: str) -> None:
    call = caller.channel.unary_unary("/test.Other/unary")
    error = refusal(lambda: call(b"", metadata=[("authorization", f"Bearer {token}")], timeout=60))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
