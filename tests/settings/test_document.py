"""YAML that two readers could read differently, or that wants to hurt: one clear line each."""

import pytest

from sidecar.settings.document import DEPTH, FILE_BYTES, MEMBERS, VALUES, parse
from sidecar.settings.problem import SettingsError


def said(text: str | bytes) -> list[str]:
    """What is wrong, as `line:column: message`."""
    data = text.encode() if isinstance(text, str) else text
    try:
        problems = parse("f", data).problems
    except SettingsError as error:
        problems = list(error.problems)
    return [f"{one.line}:{one.column}: {one.message}" for one in problems]


def test_a_good_document_has_no_problem_and_knows_its_places() -> None:
    document = parse("f", b'a: 1\nb:\n  - {c: "x", d: 1.5}\n  - true\n')
    assert document.problems == []
    assert document.data == {"a": 1, "b": [{"c": "x", "d": 1.5}, True]}
    assert document.position(("b", 0, "d")) == (3, 17)
    assert document.position(("b", 0, "d"), at_key=True) == (3, 14)
    assert document.position(("b", 7, "nowhere")) == (3, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\n", "1:4: anchors (`&name`) are not allowed: write the value where it is used"),
        ("a: &x {b: 1}\n", "1:4: anchors (`&name`) are not allowed: write the value where it is used"),
        ("a: !!str 1\n", "1:4: tags (`!name`) are not allowed"),
        ("a: !python/object/apply:os.system [id]\n", "1:4: tags (`!name`) are not allowed"),
        ("a: 1\na: 2\n", "2:1: duplicate key `a`: first on line 1"),
        ("{a: 1, b: {c: 1, c: 2}}\n", "1:18: duplicate key `c`: first on line 1"),
        ("? [a]\n: 1\n", "1:3: a key must be plain text"),
        ("a: no\n", '1:4: `no` is a boolean to some YAML parsers: write false or "no"'),
        ("a: Yes\n", '1:4: `Yes` is a boolean to some YAML parsers: write true or "Yes"'),
        ("a: [on, 'off']\n", '1:5: `on` is a boolean to some YAML parsers: write true or "on"'),
        ("a: TRUE\n", '1:4: `TRUE` is a boolean to some YAML parsers: write true or "TRUE"'),
        ("a: 010\n", "1:4: `010` is a number to some YAML parsers: put text in quotes"),
        ("a: 0x1F\n", "1:4: `0x1F` is a number to some YAML parsers: put text in quotes"),
        ("a: 1_000\n", "1:4: `1_000` is a number to some YAML parsers: put text in quotes"),
        ("a: .inf\n", "1:4: `.inf` is a number to some YAML parsers: put text in quotes"),
        ("a: 5.\n", "1:4: `5.` is a number to some YAML parsers: put text in quotes"),
        ("a: 99999999999999999999\n", "1:4: the number is too large"),
        ("a:\nb: 1\n", "1:3: an empty value: give it a value, or remove the key"),
        ("a: ~\n", "1:4: an empty value: give it a value, or remove the key"),
        ("a: null\n", "1:4: an empty value: give it a value, or remove the key"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document in one file"),
        ("a:\n\tb: 1\n", "2:1: a tab in the indentation: YAML needs spaces"),
        ("a:\n  \tb: 1\n", "2:3: a tab in the indentation: YAML needs spaces"),
        ("", "1:1: the file is empty"),
        ("# nothing but words\n", "1:1: the file is empty"),
        (b"a: caf\xe9\n", "1:7: is not UTF-8 text"),
        (b"a: 1\nb: \xff\xfe\n", "2:4: is not UTF-8 text"),
        ("a: 1\x00\n", "1:5: is not YAML: a character that YAML does not allow"),
        (
            "a: [1, 2\nb: 1\n",
            "2:2: is not YAML: while parsing a flow sequence, did not find expected ',' or ']'",
        ),
        ("a: b: c\n", "1:5: is not YAML: mapping values are not allowed in this context"),
    ],
)
def test_doubtful_yaml_is_one_clear_line(text: str | bytes, expected: str) -> None:
    assert said(text) == [expected]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a: {path: /b/{id}/c}\n", "put a path with braces in quotes"),
        ("a: [/{id}]\n", "put a path with braces in quotes"),
        ("a: *.example.com\n", "put text that begins with *, @ or ` in quotes"),
        ("a: [*.example.com]\n", "put text that begins with *, @ or ` in quotes"),
        ("a: @b\n", "put text that begins with *, @ or ` in quotes"),
        ("a: `b`\n", "put text that begins with *, @ or ` in quotes"),
    ],
)
def test_the_slips_that_everyone_makes_once_have_a_hint(text: str, hint: str) -> None:
    (problem,) = said(text)
    assert problem.startswith("1:")
    assert problem.endswith(f": {hint}")


def test_an_alias_is_refused_where_it_stands() -> None:
    assert said("a: &x [1]\nb: *x\n")[1:] == ["2:4: aliases (`*name`) are not allowed: write the value out"]


def test_a_yaml_bomb_does_not_grow() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    problems = said("\n".join(lines))
    assert problems[0] == "1:5: anchors (`&name`) are not allowed: write the value where it is used"
    assert len(problems) == 40 + 2 * 39


def test_nesting_has_an_end() -> None:
    assert said("[" * (DEPTH + 1)) == [f"1:{DEPTH + 1}: nested deeper than {DEPTH} levels"]
    assert said("[" * 1_000_000) == [f"1:{DEPTH + 1}: nested deeper than {DEPTH} levels"]


def test_a_list_has_an_end() -> None:
    assert said("- x\n" * MEMBERS) == []
    assert said("- x\n" * (MEMBERS + 1)) == [f"{MEMBERS + 1}:3: a list of more than {MEMBERS} members"]


def test_a_mapping_has_an_end() -> None:
    lines = [f"k{n}: x" for n in range(MEMBERS + 1)]
    assert said("\n".join(lines[:-1])) == []
    assert said("\n".join(lines)) == [f"{MEMBERS + 1}:9: a mapping of more than {MEMBERS} members"]


@pytest.mark.timeout(300)  # 600,000 values, under coverage
def test_the_values_of_a_file_have_an_end() -> None:
    line = "- [" + "x," * 9_999 + "x]\n"
    assert said(line * 60)[0].endswith(f"more than {VALUES} values in one file")


def test_a_file_has_an_end() -> None:
    assert said(b"#" * (FILE_BYTES + 1)) == ["0:0: is larger than 8 MiB"]


def test_a_byte_order_mark_and_windows_line_ends_are_harmless() -> None:
    assert parse("f", b"\xef\xbb\xbfa: 1\r\nb: x\r\n").data == {"a": 1, "b": "x"}


def test_several_mistakes_are_all_said() -> None:
    assert len(said("a: no\nb: ~\nc: &x 1\nc: 2\n")) == 4
