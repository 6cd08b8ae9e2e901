"""The result of one case, and its rendering."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sidecar.decision.denial import Failure


class CaseMistake(Exception):
    """The case refers to something that does not exist, or cannot; the message is one line."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case."""

    name: str
    place: str
    """`file:line`."""
    request: str
    """Method and target."""
    verdict: str
    """Status, and the reason of a refusal."""
    differences: Sequence[tuple[str, str, str]] = ()
    """Name, expected, actual; empty if all values are as expected."""
    failures: Sequence[Failure] = ()
    """The failed checks, which explain the result."""
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether all values are as expected."""
        return not self.differences

    def summary(self) -> str:
        """One line about the differences."""
        return "; ".join(f"{name}: expected {wanted}, got {came}" for name, wanted, came in self.differences)

    def lines(self) -> Iterator[str]:
        """The differences as a diff, and their cause."""
        yield f"{self.place}: {self.request}: {self.verdict}"
        for name, wanted, came in self.differences:
            yield f"- {name}: {wanted}"
            yield f"+ {name}: {came}"
        for failure in self.failures:
            yield (
                f"  {failure.check}: expected {failure.expected or 'nothing'},"
                f" presented {failure.presented or 'nothing'}"
            )


def table(results: Sequence[Result], *, in_colour: bool) -> Iterator[str]:
    """A row for each case, a diff for each failed one, and a count."""
    width = max((len(result.name) for result in results), default=0)
    target = min(max((len(result.request) for result in results), default=0), 40)
    for result in results:
        mark = _painted("ok  ", "32", in_colour) if result.is_good else _painted("FAIL", "31", in_colour)
        yield f"{mark}  {result.name:{width}}  {result.request:{target}}  {result.verdict}".rstrip()
        if not result.is_good:
            yield from (f"      {_coloured(line, in_colour)}" for line in result.lines())
    failed = sum(1 for result in results if not result.is_good)
    yield f"{len(results) - failed} passed, {failed} failed"


def _coloured(line: str, in_colour: bool) -> str:  # noqa: FBT001 — whether there is a terminal
    colours = {"-": "31", "+": "32"}
    return _painted(line, colours[line[0]], in_colour) if line[:1] in colours else line


def _painted(text: str, colour: str, in_colour: bool) -> str:  # noqa: FBT001 — whether there is a terminal
    return f"\033[{colour}m{text}\033[0m" if in_colour else text
