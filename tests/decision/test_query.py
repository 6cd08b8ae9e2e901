import pytest

from sidecar.decision.query import names_in


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("a", {"a"}),
        ("a=1&b=2&a=3", {"a", "b"}),
        ("a=b=c", {"a"}),
        ("a=1;b=2", {"a", "b"}),
        ("%61=1&b+c=2&d%20e", {"a", "b c", "d e"}),
        ("a%3Db=1", {"a=b"}),
        ("=1", {""}),
        ("a=%zz&%zz", {"a", "%zz"}),
    ],
)
def test_every_name_that_some_reader_could_find_is_found(query: str, names: set[str]) -> None:
    assert names_in(query) == names
