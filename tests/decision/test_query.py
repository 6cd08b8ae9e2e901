import pytest

from sidecar.decision.query import TooManyNames, names_in


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


def test_different_names_with_escapes_are_bounded_and_others_are_not() -> None:
    assert len(names_in("&".join(f"id{number}=1" for number in range(2000)))) == 2000
    assert names_in("%61=1&" * 1000 + "b") == {"a", "b"}
    assert len(names_in("&".join(f"%61{number}" for number in range(64)))) == 64
    with pytest.raises(TooManyNames, match="at most 64 different names with escapes"):
        names_in("&".join(f"%61{number}" for number in range(65)))
