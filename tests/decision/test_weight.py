import json
import tracemalloc

import pytest

from sidecar.decision.weight import weight

DOCUMENTS = {
    "text": json.dumps({"a": "x" * 10_000}),
    "wide text": json.dumps({"a": "\U0001f600" * 2000}),
    "many names": json.dumps({f"n{number:x}": number + 1000 for number in range(1000)}),
    "many lists": json.dumps({"a": [[] for _ in range(3000)]}),
    "many objects": json.dumps({"a": [{"b": 1.5} for _ in range(1000)]}),
    "scopes": json.dumps([f"s{number:x}" for number in range(2000)]),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_value_weighs_what_it_takes(name: str) -> None:
    tracemalloc.start()
    try:
        value = json.loads(DOCUMENTS[name])
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken * 0.8 <= weight(value) <= taken * 2


def test_set_of_scopes_weighs_more_than_its_text() -> None:
    scopes = frozenset(f"s{number:x}" for number in range(2000))
    assert weight(scopes) > 10 * len(" ".join(scopes))
