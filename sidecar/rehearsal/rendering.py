"""An explanation as text for a terminal."""

from collections.abc import Iterator
from dataclasses import asdict

from sidecar.decision.challenge import DESCRIPTIONS, TITLES
from sidecar.decision.explanation import Step, Verdict
from sidecar.decision.permit import Permit
from sidecar.http import grpc
from sidecar.rehearsal.explanation import Explanation, help_place

_MARKS = {
    "passed": ("ok  ", "32"),
    "failed": ("FAIL", "31"),
    "not reached": ("--  ", "2"),
    "assumed": ("?   ", "33"),
}


def render(explanation: Explanation, *, in_colour: bool) -> Iterator[str]:
    """The lines: each check, the decision, the answer, and the probable mistake."""
    steps = explanation.steps
    check = max((len(step.check) for step in steps), default=0)
    clause = max((len(step.clause) for step in steps), default=0)
    for step in steps:
        yield from _step(step, explanation.verdict(step), check, clause, in_colour=in_colour)
    yield ""
    yield from _verdict(explanation, in_colour=in_colour)
    if explanation.diagnosis is not None:
        found = explanation.diagnosis
        yield f"mistake  {_painted(found.mistake, '1', in_colour)}: {_printable(found.sentence)}"


def _step(step: Step, verdict: str, check: int, clause: int, *, in_colour: bool) -> Iterator[str]:
    mark, colour = _MARKS[verdict]
    presented = "NOT VERIFIED: no keys available" if verdict == "assumed" else step.presented
    lead = f"{_painted(mark, colour, in_colour)}  {_printable(step.check):{check}}  {step.clause:{clause}}"
    if step.verdict is Verdict.NOT_REACHED:
        yield f"{lead}  not reached"
        return
    yield f"{lead}  expected   {_printable(step.expected) or '-'}"
    yield f"{'':{check + clause + 10}}presented  {_printable(presented) or '-'}"


def _verdict(explanation: Explanation, *, in_colour: bool) -> Iterator[str]:
    rule = f"rule {explanation.rule}" if explanation.rule else "no rule"
    denial = explanation.denial
    if explanation.is_permit:
        provided = ", if the signature is valid" if explanation.assumes_signature else ""
        yield f"verdict  {_painted('permit', '32', in_colour)}{provided} ({rule})"
        if denial is not None:
            yield f"         only because the policy reports: will be refused for {denial.reason.value}"
        yield from _limits(explanation)
        for name in explanation.told:
            yield f"told     {_printable(name)}: the authorization server hears of the client by it"
        for name in explanation.stripped:
            yield f"stripped {_printable(name)}: it claims an identity, and only a peer in `forwarded_from` may say it"
        return
    assert explanation.answer is not None  # noqa: S101 — without forwarding, there is an answer
    status = explanation.answer.status
    if denial is None:
        yield f"answer   {status}: the sidecar's own metadata of the protected resource (RFC 9728)"
        return
    yield f"verdict  {_painted('deny', '31', in_colour)}: {denial.reason.value} ({rule})"
    code = explanation.grpc_status
    if code is None:
        yield f"answer   {status} {TITLES[status]}: {DESCRIPTIONS[denial.reason]}"
    else:
        yield f"answer   200 with grpc-status {code} {grpc.NAMES[code]}, all in one head (trailers-only)"
        yield f"         grpc-message: {explanation.grpc_message}"
    if explanation.challenge is not None:
        yield f"         WWW-Authenticate: {_printable(explanation.challenge)}"
    yield f"help     {help_place(denial.reason)}"


def _limits(explanation: Explanation) -> Iterator[str]:
    """The limits of the exchange, if the rule sets any."""
    decision, bounds = explanation.decision, explanation.bounds
    own = decision.rule.limits if isinstance(decision, Permit) else None
    if own is None or bounds is None:
        return
    label = "limits"
    for name, value in asdict(bounds).items():
        shown = f"{value:.10g}s" if name.endswith("_timeout") else str(value)
        whose = "the service's" if getattr(own, name) is None else "the rule's"
        yield f"{label:8} {name} {shown if value else 'none'} ({whose})"
        label = ""


def _painted(text: str, colour: str, in_colour: bool) -> str:  # noqa: FBT001 — whether there is a terminal
    return f"\033[{colour}m{text}\033[0m" if in_colour else text


def _printable(text: str) -> str:
    """Text without control characters: claims are untrusted input."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
