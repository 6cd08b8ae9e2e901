"""gRPC through the sidecar's process, with @grpc/grpc-js at both ends: four kinds of call, permitted and refused."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from grpc import StatusCode

from tests.real.grpc_js import Answer, Call, GrpcJsServer, grpc_js, grpc_js_server
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.sidecar import Sidecar, listener, policy

pytestmark = pytest.mark.real

SENT = {"unary": ("hello",), "join": ("one", "two"), "count": ("3",), "echo": ("one", "two")}
GOT = {"unary": ["hello"], "join": ["onetwo"], "count": ["0", "1", "2"], "echo": ["one", "two"]}
RULES = [{"name": "talk", "match": {"path": "/test.Talk/*"}, "require": {"scopes": ["accounts:read"]}}]
UNAUTHENTICATED, DENIED, FAILED = (
    status.value[0]
    for status in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED, StatusCode.FAILED_PRECONDITION)
)


@dataclass(frozen=True, slots=True)
class Place:
    """A sidecar before an API, and the client of `pki`."""

    sidecar: Sidecar
    api: GrpcJsServer
    pki: Pki

    def call(self, token: str | None) -> dict[str, Answer]:
        """One call of each kind with a token, all at once."""
        calls = [Call(kind, token, sent) for kind, sent in SENT.items()]
        answers = grpc_js(self.sidecar.port, self.pki, self.pki.client, *calls)
        return dict(zip(SENT, answers, strict=True))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("grpc-js")
    with grpc_js_server(folder) as api:
        made = Sidecar(folder, pki, api.url, keys=[signing_key], policy_document=policy(RULES))
        document = made.service_document(api.url)
        document["listeners"] = [listener(made.port) | {"protocols": ["h2"]}]
        document["upstream"]["protocol"] = "h2"
        made.write_service(document)
        with made:
            yield Place(made, api, pki)


def test_calls_of_each_kind_are_permitted(place: Place, signing_key: SigningKey) -> None:
    before = len(place.api.calls())
    answers = place.call(signing_key.token(place.pki.client))
    assert {kind: (answer.code, answer.got) for kind, answer in answers.items()} == {
        kind: (0, got) for kind, got in GOT.items()
    }
    assert sorted(place.api.calls()[before:]) == sorted(SENT)


def test_a_thief_is_refused_calls_of_each_kind(place: Place, signing_key: SigningKey) -> None:
    """Who holds the token, but not the key of the certificate that it is bound to (RFC 8705 §3)."""
    before = place.api.calls()
    for answer in place.call(signing_key.token(place.pki.other_client)).values():
        assert (answer.code, answer.got) == (UNAUTHENTICATED, [])
        assert answer.details.startswith("binding_mismatch: ")
        assert answer.metadata["www-authenticate"].startswith("Bearer")
        assert answer.metadata["x-request-id"]
    assert place.api.calls() == before


def test_calls_without_the_scope_are_denied(place: Place, signing_key: SigningKey) -> None:
    before = place.api.calls()
    for answer in place.call(signing_key.token(place.pki.client, scope="other")).values():
        assert (answer.code, answer.got) == (DENIED, [])
        assert answer.details.startswith("scope_insufficient: ")
    assert place.api.calls() == before


def test_what_the_api_says_of_a_failure_arrives(place: Place, signing_key: SigningKey) -> None:
    call = Call("unary", signing_key.token(place.pki.client), ("fail",))
    (answer,) = grpc_js(place.sidecar.port, place.pki, place.pki.client, call)
    assert (answer.code, answer.details) == (FAILED, "as asked: 100 %")
    assert answer.metadata["x-why"] == "asked to"


def test_large_messages_pass_both_ways(place: Place, signing_key: SigningKey) -> None:
    pieces = [letter * 1_000_000 for letter in "abcd"]
    call = Call("echo", signing_key.token(place.pki.client), pieces)
    (answer,) = grpc_js(place.sidecar.port, place.pki, place.pki.client, call)
    assert (answer.code, answer.got) == (0, pieces)
