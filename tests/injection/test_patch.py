"""The patch means the same to an independent implementation of RFC 6902."""

from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from sidecar.injection.patch import difference

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, width=16)
    | st.text(max_size=3)
)
KEYS = st.sampled_from(["a", "b", "a/b", "a~b", "~1", "", "0"])
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def identical(left: Any, right: Any) -> bool:
    """Equal, and of the same types: 1, 1.0 and true are three different JSON texts."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(identical(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(identical, left, right))
    return type(left) is type(right) and bool(left == right)


@given(DOCUMENTS, DOCUMENTS)
def test_applying_the_difference_gives_the_new_document(old: Any, new: Any) -> None:
    operations = [one.as_json() for one in difference({"doc": old}, {"doc": new})]
    assert identical(jsonpatch.apply_patch({"doc": old}, operations), {"doc": new})


@given(DOCUMENTS)
def test_the_same_document_has_no_difference(document: Any) -> None:
    assert difference(document, document) == ()


def test_a_key_with_a_slash_is_escaped() -> None:
    (operation,) = difference({"annotations": {}}, {"annotations": {"a/b~c": "1"}})
    assert operation.as_json() == {"op": "add", "path": "/annotations/a~1b~0c", "value": "1"}


def test_a_longer_list_is_added_to_at_its_end_only() -> None:
    assert [one.as_json() for one in difference({"l": [1]}, {"l": [1, 2, 3]})] == [
        {"op": "add", "path": "/l/1", "value": 2},
        {"op": "add", "path": "/l/2", "value": 3},
    ]
