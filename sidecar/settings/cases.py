"""Case files → cases, each with what it takes from its file's defaults."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.settings import document as documents
from sidecar.settings.case_certificate import CaseCertificate
from sidecar.settings.case_sections import Case, CaseFile, CaseProof, CaseRequest, CaseTls, CaseToken
from sidecar.settings.document import Document
from sidecar.settings.problem import Problem, SettingsError, shown
from sidecar.settings.section import Section, Surroundings, validate

CLIENT = "client"
"""The certificate that a case uses unless it names another."""
NONE = "none"


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """One case, complete."""

    case: Case
    place: str
    """`file:line`."""
    at: float | None
    """Seconds since the epoch; None: now."""
    request: CaseRequest
    certificate: str | None
    """Name; None: the client presents none."""
    tls: CaseTls | None
    """None: not known."""
    token: CaseToken | None
    """None: no token."""
    certificates: Mapping[str, CaseCertificate]
    """The file's certificates, by name."""
    proof: CaseProof | None = None
    """None: no DPoP proof."""


def load_cases(paths: Iterable[Path]) -> list[PolicyCase]:
    """The cases of the files, in order; raises `SettingsError` with all that is wrong in all files."""
    cases: list[PolicyCase] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            document = documents.read(path)
        except SettingsError as error:
            problems.extend(error.problems)
            continue
        file, found = validate(CaseFile, document, (), document.data, Surroundings(path.parent))
        problems.extend((*document.problems, *found))
        if file is not None:
            problems.extend(_repeated(document, file))
            cases.extend(_complete(document, file))
    if problems:
        raise SettingsError(problems)
    return cases


def _repeated(document: Document, file: CaseFile) -> Iterable[Problem]:
    seen: set[str] = set()
    for index, case in enumerate(file.cases):
        if case.name in seen:
            yield document.problem(("cases", index, "name"), f"{shown(case.name)} is taken")
        seen.add(case.name)


def _complete(document: Document, file: CaseFile) -> Iterable[PolicyCase]:
    defaults = file.defaults
    for index, case in enumerate(file.cases):
        line, _ = document.position(("cases", index))
        certificate = case.certificate or defaults.certificate or CLIENT
        token, tls = case.token, case.tls
        if case.request.form is not None and "token" not in case.model_fields_set:
            token = None  # it would be a second way to authenticate
        if tls is not None:
            tls = CaseTls.model_construct(**_over(defaults.tls, tls))
        if token is not None:
            token = CaseToken.model_construct(**_over(defaults.token, token, "claims"))
        proof = case.proof
        if proof is not None:
            proof = CaseProof.model_construct(**_over(defaults.proof, proof, "claims"))
        yield PolicyCase(
            case=case,
            place=f"{document.file}:{line}",
            at=defaults.at if case.at is None else case.at,
            request=_request(defaults.request, case.request),
            certificate=None if certificate == NONE else certificate,
            tls=tls,
            token=token,
            certificates=file.certificates,
            proof=proof or (defaults.proof if "proof" not in case.model_fields_set else None),
        )


def _request(defaults: CaseRequest, own: CaseRequest) -> CaseRequest:
    """The request of a case. A call of gRPC stands in the place of method and target, and they in its place."""
    both = _over(defaults, own, "headers")
    if own.model_fields_set & _WHAT_IS_ASKED:
        both.pop("grpc", None)
    call = own.grpc or both.get("grpc")
    if call is not None:
        both.pop("form", None)
        both |= {"grpc": call, "method": "POST", "target": f"/{call.service}/{call.method}"}
    return CaseRequest.model_construct(**both)


_WHAT_IS_ASKED: Final = frozenset({"method", "target", "form"})


def _over(defaults: Section | None, own: Section, merged: str | None = None) -> dict[str, Any]:
    """What `own` says over what `defaults` say; the mapping `merged`, if there is one, key by key."""
    given = defaults.given() if defaults is not None else {}
    if "raw" in own.model_fields_set:
        given = {}
    both = given | own.given()
    if merged is not None:
        both[merged] = given.get(merged, {}) | getattr(own, merged)
    return both
