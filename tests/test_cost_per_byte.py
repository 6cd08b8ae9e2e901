"""What anybody can make the decision cost with a request of a given size: counted, never timed.

The measure is the number of instructions of Python's virtual machine, in our code and in all that it calls. Whatever a
client puts into a target, a token or a certificate of a given size must cost no more than a small multiple of the
cheapest request of that size.
"""

import json
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.authorizer import Authorizer
from sidecar.decision.match import RequestMatch
from sidecar.decision.path import ALLOWABLE
from sidecar.decision.policy import Rule
from sidecar.decision.request import Presenter
from sidecar.decision.strict import base64url_text
from tests.support.mint import ISSUER
from tests.support.world import DIGEST_KEY, Keys, head, policy

TARGET = 8192
"""The default `limits.target_bytes`."""
TOKEN = 16384
"""The default `limits.token_bytes`."""
SIZES = [128, 256, 512, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 7000, TARGET]
MOST = 20
"""Times the cheapest request of the size, in the decision alone: reading the request and answering it come on top."""
NOBODY = Presenter(None, "main", "192.0.2.1:1")


def counted(of: Callable[[], object]) -> int:
    """Instructions that run while `of` does."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        of()
    finally:
        sys.settrace(before)
    return count


@pytest.fixture(scope="module")
def gate() -> Authorizer:
    """Twenty rules that look at queries and paths, and one that lets every ambiguity through."""
    rules = [
        Rule(f"query-{n}", RequestMatch(path=f"/a/{{id}}/b{n}", query_present=frozenset({f"q{n}"})))
        for n in range(10)
    ]
    rules += [Rule(f"any-{n}", RequestMatch(query_present=frozenset({f"q{n}"}))) for n in range(10)]
    rules.append(Rule("all", RequestMatch(), allow_ambiguous_paths=frozenset(ALLOWABLE)))
    return Authorizer(policy(*rules), Keys.of(), digest_key=DIGEST_KEY, elapsing=float)


def asked(gate: Authorizer, target: str, token: str | None = None) -> int:
    request = head(token, target=target)
    return counted(lambda: gate.authorize(request, NOBODY, 0))


TARGETS = {
    "slashes": "/",
    "segments": "/a",
    "escaped segments": "/%C3%A9",
    "escapes": "%C3%A9",
    "escaped slashes": "%2f",
    "backslashes": "\\",
    "parameters": "/;a=b",
    "hidden escapes": "/%25%32%66",
    "twice hidden": "%252f%253b%255c",
    "every kind": "/;%2f%5c%3f%25%41//",
    "dots": "/.%2e%252e",
    "names": "?a=b;c&",
}
QUERIES = {
    "semicolons": "%41;",
    "names": "a&",
    "escaped names": "%41{n}&",
    "escaped names between semicolons": "%41{n};",
    "plus": "+{n}&",
    "values": "=%41",
}


def repeated(piece: str, size: int) -> str:
    """`piece` again and again, `{n}` in it a number; `size` characters."""
    text = "".join(
        piece.replace("{n}", str(number)) for number in range(size // len(piece.replace("{n}", "")) + 1)
    )
    return text[:size]


@pytest.mark.parametrize("piece", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("size", SIZES)
def test_no_target_costs_much_more_than_another_of_its_size(gate: Authorizer, piece: str, size: int) -> None:
    cheapest = asked(gate, "/" + "a" * (size - 1))
    cost = asked(gate, "/" + repeated(piece, size - 1))
    print(f"{size} bytes: {cost} instructions, {cost / cheapest:.1f} times the cheapest")
    assert cost <= MOST * cheapest


@pytest.mark.parametrize("piece", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("size", SIZES)
def test_no_query_costs_much_more_than_another_of_its_size(gate: Authorizer, piece: str, size: int) -> None:
    cheapest = asked(gate, "/?" + "a" * (size - 2), "opaque")
    cost = asked(gate, "/?" + repeated(piece, size - 2), "opaque")
    print(f"{size} bytes: {cost} instructions, {cost / cheapest:.1f} times the cheapest")
    assert cost <= MOST * cheapest


def jwt(payload: str, header: str = '{"alg":"ES256","kid":"k"}') -> str:
    return f"{base64url_text(header.encode())}.{base64url_text(payload.encode())}.c2ln"


def payloads(size: int) -> Iterator[tuple[str, str]]:
    """Claims sets in about `size` bytes, before base64url."""
    for name, piece in {
        "objects": "{}", "arrays": "[]", "numbers": "1", "names": '{"a":1}', "texts": '""', "nested": "[[[{}]]]",
        "escapes": '"\\u0041"',
    }.items():  # fmt: skip
        yield name, f'{{"iss":"{ISSUER}","a":[{",".join([piece] * (size // (len(piece) + 1)))}]}}'
    yield "members", json.dumps({"iss": ISSUER, **{f"{number}": 1 for number in range(size // 10)}})


def test_no_token_costs_much_more_than_another_of_its_size_before_its_signature(gate: Authorizer) -> None:
    for size in (*SIZES, TOKEN * 3 // 4 - 200):
        cheapest = asked(gate, "/", jwt(json.dumps({"iss": ISSUER, "a": "x" * size})))
        for name, payload in payloads(size):
            cost = asked(gate, "/", jwt(payload))
            print(f"{size} bytes of {name}: {cost} instructions, {cost / cheapest:.1f} times the cheapest")
            assert cost <= MOST * cheapest, (size, name)


def test_a_query_is_read_once_whatever_the_number_of_rules(gate: Authorizer) -> None:
    one = Authorizer(
        policy(Rule("q", RequestMatch(query_present=frozenset({"q"})))),
        Keys.of(),
        digest_key=b"k",
        elapsing=float,
    )
    query = "/?" + repeated("%41{n}&", 300)
    assert asked(gate, query) < asked(one, query) + 20 * 60


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from([*"/;\\.?&=a", "%2f", "%5C", "%3b", "%25", "%41", "%C3%A9", "%"]),
        min_size=1,
        max_size=6,
    )
)
def test_any_target_costs_little(gate: Authorizer, pieces: list[str]) -> None:
    cheapest = asked(gate, "/" + "a" * (TARGET - 1))
    target = "/" + repeated("".join(pieces), TARGET - 1)
    assert asked(gate, target) <= MOST * cheapest, target[:60]
