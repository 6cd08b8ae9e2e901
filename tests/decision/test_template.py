import pytest

from sidecar.decision.path import ASTERISK
from sidecar.decision.template import Template


@pytest.mark.parametrize(
    ("text", "literals", "captures", "rest"),
    [
        ("/", ("",), (), False),
        ("/a", ("a",), (), False),
        ("/a/", ("a", ""), (), False),
        ("/**", (), (), True),
        ("/a/**", ("a",), (), True),
        ("/a/*/b", ("a", None, "b"), (), False),
        ("/accounts/{id}/**", ("accounts", None), (("id", 1),), True),
        ("/{a}/{b_2}", (None, None), (("a", 0), ("b_2", 1)), False),
        ("/caf%C3%A9", ("café",), (), False),
        ("/café", ("café",), (), False),
        ("/a%40b", ("a@b",), (), False),
        ("/.well-known/x", (".well-known", "x"), (), False),
        ("*", (ASTERISK,), (), False),
    ],
)
def test_template_is_parsed(
    text: str, literals: tuple[str | None, ...], captures: tuple[tuple[str, int], ...], rest: object
) -> None:
    assert Template.parse(text) == Template(literals, captures, bool(rest))


@pytest.mark.parametrize(
    ("text", "suffixes"),
    [
        ("/users/{id}:suspend", ((1, ":suspend"),)),
        ("/users/{id}%3Asuspend", ((1, ":suspend"),)),
        ("/{name}.json", ((0, ".json"),)),
        ("/{name}.json/{id}:x/**", ((0, ".json"), (1, ":x"))),
        ("/{name}café", ((0, "café"),)),
        ("/{name}", ()),
    ],
)
def test_capture_may_be_followed_by_the_end_of_its_segment(
    text: str, suffixes: tuple[tuple[int, str], ...]
) -> None:
    template = Template.parse(text)
    assert template.suffixes == suffixes
    assert [template.suffix(at) for at, _ in suffixes] == [end for _, end in suffixes]
    assert template.suffix(9) == ""
    assert all(template.literals[at] is None for _, at in template.captures)


@pytest.mark.parametrize("text", ["/{id}%zz", "/{id}%00", "/{id}%ff", "/{id}#a"])
def test_end_that_no_segment_has_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="never matches"):
        Template.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/a{id}:x", "whole segment"),
        ("/{id}{name}", "whole segment"),
        ("/{id}*", "whole segment"),
        ("/{id}:x/{id}:y", "captured twice"),
        ("", "begins with /"),
        ("a", "begins with /"),
        ("**", "begins with /"),
        ("/**/a", "only at the end"),
        ("/a**", "whole segment"),
        ("/*.json", "whole segment"),
        ("/a{id}", "whole segment"),
        ("/{}", "whole segment"),
        ("/{1a}", "whole segment"),
        ("/{id", "whole segment"),
        ("/{id}/{id}", "captured twice"),
        ("/a/../b", "never matches: dot_segment"),
        ("/a%", "never matches: invalid_escape"),
        ("/a%00", "never matches: control_character"),
        ("/%ff", "never matches: invalid_utf8"),
        ("/a#b", "never matches: fragment"),
    ],
)
def test_template_that_could_not_mean_anything_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("*", r"\*")):
        Template.parse(text)
