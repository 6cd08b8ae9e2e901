"""YAML text → plain data in which every value's line and column is known.

Theory of operation: the parser's events are composed by hand into two trees of one shape, the data (dicts, lists,
scalars) and the marks (where each of them stands). The data goes through the models; an error's path is then
looked up in the marks.

The YAML accepted here is the part on which all readers agree: no anchors, aliases, tags, duplicate keys, empty
values, nor plain words (`no`, `on`, `010`) that are a boolean or a number to some readers and text to others.
A document of that kind cannot grow while it is read, so its size is bounded by the file's.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from sidecar.settings.problem import Problem, SettingsError, sanitize

FROM_ENVIRONMENT: Final = "env:"
"""Begins the name of a document that stands in an environment variable."""
FILE_BYTES: Final = 8 * 1024 * 1024
"""Largest file that is read."""
DEPTH: Final = 32
"""Deepest nesting that is read."""
MEMBERS: Final = 10_000
"""Longest list, and largest mapping, that is read."""
VALUES: Final = 500_000
"""Most values, keys not counted, of one file."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: Final[dict[str, bool]] = {"true": True, "True": True, "false": False, "False": False}
_DOUBTFUL_WORDS: Final = frozenset({"yes", "no", "on", "off", "TRUE", "FALSE"})
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_DOUBTFUL_NUMBER: Final = re.compile(
    r"[-+]?(?:0[0-9_]+|0[xob][0-9a-fA-F_]+|[0-9]+(?:_[0-9]+)+|\.(?:inf|nan)|[0-9]*\.[0-9]*)", re.IGNORECASE
)
_BARE_BRACES: Final = re.compile(r"[\s,\[{:]/[^\s\"',]*\{[A-Za-z_]+\}")
_TAB_INDENT: Final = re.compile(r"^ *\t[ \t]*(?=[^\s#])", re.MULTILINE)
_INTEGER_DIGITS: Final = 18


@dataclass(slots=True)
class Mark:
    """Where one value stands, and, for a mapping or list, where its members stand. Counted from 1."""

    line: int
    column: int
    members: "dict[str, Mark] | list[Mark] | None" = None
    key: tuple[int, int] | None = None
    """Where the key of this value stands, when it is a member of a mapping."""


@dataclass(slots=True)
class Document:
    """One file, read."""

    file: str
    data: Any
    marks: Mark
    problems: list[Problem] = field(default_factory=list)
    broken: frozenset[tuple[int, int]] = frozenset()
    """Places of the problems."""
    is_writable_by_everyone: bool = False
    """Whether the file is that was opened, links followed: links and folders of a ConfigMap are, its files are not."""

    def problem(self, path: Sequence[str | int], message: str, *, at_key: bool = False) -> Problem:
        """A problem at the value, or at its key, that `path` leads to.

        What the document does not have on the path is passed over.
        """
        line, column = self.position(path, at_key=at_key)
        return Problem(self.file, line, column, message)

    def warning(self, path: Sequence[str | int], message: str) -> Problem:
        """A warning at the key that `path` leads to."""
        line, column = self.position(path, at_key=True)
        return Problem(self.file, line, column, message, is_warning=True)

    def position(self, path: Sequence[str | int], *, at_key: bool = False) -> tuple[int, int]:
        """Line and column of what `path` leads to, from 1."""
        mark = self.marks
        for step in path:
            member = _member(mark, step)
            if member is not None:
                mark = member
        return mark.key if at_key and mark.key else (mark.line, mark.column)

    def is_broken(self, path: Sequence[str | int]) -> bool:
        """Whether the value there was refused already, so that nothing more need be said of it."""
        return self.position(path) in self.broken


def _member(mark: Mark, step: str | int) -> Mark | None:
    if isinstance(mark.members, dict):
        return mark.members.get(str(step))
    if isinstance(mark.members, list) and isinstance(step, int) and 0 <= step < len(mark.members):
        return mark.members[step]
    return None


def read(path: Path) -> Document:
    """The document in the file at `path`; raises `SettingsError` when there is none.

    `env:NAME` is the text of an environment variable: what nobody can change while the process runs.
    """
    variable = environment_variable(path)
    if variable is not None:
        text = os.environ.get(variable)
        if text is None:
            raise SettingsError([Problem(str(path), 0, 0, "there is no environment variable with this name")])
        return parse(str(path), text.encode("utf-8", "surrogateescape"))
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from None
    except ValueError:
        raise SettingsError([Problem(sanitize(str(path)), 0, 0, "is not a file name")]) from None
    document = parse(str(path), data)
    document.is_writable_by_everyone = stat.S_ISREG(mode) and bool(mode & stat.S_IWOTH)
    return document


def environment_variable(path: Path | str) -> str | None:
    """The name in `env:NAME`; None for the path of a file."""
    text = str(path)
    return text.removeprefix(FROM_ENVIRONMENT) if text.startswith(FROM_ENVIRONMENT) else None


def parse(file: str, data: bytes) -> Document:
    """The document in `data`; raises `SettingsError` when it is no document at all.

    What is wrong with single values is in the document's `problems`.
    """
    if len(data) > FILE_BYTES:
        raise SettingsError([Problem(file, 0, 0, f"is larger than {FILE_BYTES // 1024 // 1024} MiB")])
    text = _decode(file, data)
    tab = _TAB_INDENT.search(text)
    if tab:
        line = text.count("\n", 0, tab.start()) + 1
        column = tab.group().index("\t") + 1
        raise SettingsError([Problem(file, line, column, "a tab in the indentation: YAML needs spaces")])
    try:
        return _Composer(file, text).document()
    except yaml.MarkedYAMLError as error:
        raise SettingsError([_syntax_problem(file, text, error)]) from None
    except yaml.YAMLError as error:
        raise SettingsError([_reader_problem(file, text, error)]) from None


def _decode(file: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise SettingsError([Problem(file, line, column, "is not UTF-8 text")]) from None
    return text.replace("\r\n", "\n")


def _syntax_problem(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    said = ", ".join(part for part in (error.context, error.problem) if part)
    lines = text.split("\n")
    hint = _hint(lines[line - 1] if line <= len(lines) else "", column, said)
    return Problem(file, line, column, f"is not YAML: {sanitize(said, 160)}{hint}")


def _hint(line: str, column: int, said: str) -> str:
    """What was probably forgotten, for the slips that everyone makes once."""
    if "scanning an alias" in said or line[column - 1 : column] in {"@", "`"}:
        return ": put text that begins with *, @ or ` in quotes"
    if _BARE_BRACES.search(line):
        return ": put a path with braces in quotes"
    return ""


def _reader_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    """The reader says at which character it stopped, though not at which line."""
    position = min(int(getattr(error, "position", 0) or 0), len(text))
    line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    return Problem(file, line, column, "is not YAML: a character that YAML does not allow")


class _Composer:
    """Builds the two trees from the events of one file."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._values = 0
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)

    def document(self) -> Document:
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise SettingsError([Problem(self.file, 1, 1, "the file is empty")])
        data, marks = self._value(next(self._events), 0)
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._refuse(event, "a second document in one file")
        broken = frozenset((problem.line, problem.column) for problem in self.problems)
        return Document(self.file, data, marks, self.problems, broken)

    def _refuse(self, event: Any, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, message))

    def _give_up(self, mark: Mark, message: str) -> NoReturn:
        """The rest of the file is not worth reading."""
        raise SettingsError([*self.problems, Problem(self.file, mark.line, mark.column, message)])

    def _value(self, event: Any, depth: int) -> tuple[Any, Mark]:
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        self._values += 1
        if self._values > VALUES:
            self._give_up(mark, f"more than {VALUES} values in one file")
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "aliases (`*name`) are not allowed: write the value out")
            return None, mark
        if event.anchor is not None:
            self._refuse(event, "anchors (`&name`) are not allowed: write the value where it is used")
        if event.tag is not None:
            self._refuse(event, "tags (`!name`) are not allowed")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event), mark
        if depth >= DEPTH:
            self._give_up(mark, f"nested deeper than {DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(mark, depth), mark
        return self._mapping(mark, depth), mark

    def _sequence(self, mark: Mark, depth: int) -> list[Any]:
        data: list[Any] = []
        marks: list[Mark] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            value, at = self._value(event, depth + 1)
            if len(data) == MEMBERS:
                self._give_up(at, f"a list of more than {MEMBERS} members")
            data.append(value)
            marks.append(at)
        mark.members = marks
        return data

    def _mapping(self, mark: Mark, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        marks: dict[str, Mark] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, depth)
            value, at = self._value(next(self._events), depth + 1)
            at.key = (event.start_mark.line + 1, event.start_mark.column + 1)
            if len(data) == MEMBERS:
                self._give_up(at, f"a mapping of more than {MEMBERS} members")
            if key is None:
                continue
            if key in data:
                self._refuse(
                    event, f"duplicate key `{sanitize(key)}`: first on line {(marks[key].key or (0, 0))[0]}"
                )
                continue
            data[key] = value
            marks[key] = at
        mark.members = marks
        return data

    def _key(self, event: Any, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent) and event.anchor is None and event.tag is None:
            return str(event.value)
        self._value(event, depth + 1)
        self._refuse(event, "a key must be plain text")
        return None

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.style:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text in _NULLS:
            self._refuse(event, "an empty value: give it a value, or remove the key")
            return None
        if _INTEGER.fullmatch(text):
            if len(text) > _INTEGER_DIGITS:
                self._refuse(event, "the number is too large")
                return None
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        return self._word(event, text)

    def _word(self, event: Any, text: str) -> str | None:
        if text.lower() in _DOUBTFUL_WORDS or text in _DOUBTFUL_WORDS:
            meant = "true" if text.lower() in {"yes", "on", "true"} else "false"
            self._refuse(event, f'`{text}` is a boolean to some YAML parsers: write {meant} or "{text}"')
            return None
        if _DOUBTFUL_NUMBER.fullmatch(text):
            self._refuse(event, f"`{sanitize(text)}` is a number to some YAML parsers: put text in quotes")
            return None
        return text
