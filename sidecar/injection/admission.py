"""AdmissionReview in, AdmissionReview out (admission.k8s.io/v1).

For any Pod there are three answers: allowed with the whole patch, allowed unchanged, or refused with a sentence that
says what to change. A request that is not an AdmissionReview raises `BadReview`.
"""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from sidecar.injection.annotation import PREFIX
from sidecar.injection.manifest import Injection, Mode, inject
from sidecar.injection.patch import difference
from sidecar.injection.placement import CONTAINER
from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import InjectionSettings

API_VERSION = "admission.k8s.io/v1"
WARNING_LENGTH = 256
UNPROCESSABLE = 422
FORBIDDEN = 403


class BadReview(Exception):
    """The request's body is not an AdmissionReview that this webhook can answer."""


def review(body: bytes, settings: InjectionSettings, mode: Mode = Mode.ASKED) -> dict[str, Any]:
    """Answer one AdmissionReview of the mutating webhook, given as JSON text. Raises `BadReview`."""
    return _answered(body, lambda request: _verdict(request, settings, mode))


def guard(body: bytes) -> dict[str, Any]:
    """Answer one AdmissionReview of the validating webhook: an update must not change the protection of a Pod.

    In a Pod's spec the API server allows changes to images and a few times only, but to all annotations and labels.
    Raises `BadReview`.
    """
    return _answered(body, _guarded)


def _answered(body: bytes, verdict: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    request = _request(body)
    try:
        response = {"uid": request["uid"], **verdict(request)}
    except RecursionError:
        raise BadReview("the object is nested too deeply") from None
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def _request(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadReview("the body is not JSON") from None
    if not isinstance(document, dict) or document.get("kind") != "AdmissionReview":
        raise BadReview("the body is not an AdmissionReview")
    if document.get("apiVersion") != API_VERSION:
        raise BadReview(f"only {API_VERSION} is answered")
    request = document.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise BadReview("the AdmissionReview has no request with a uid")
    return request


def _guarded(request: Mapping[str, Any]) -> dict[str, Any]:
    old, new = request.get("oldObject"), request.get("object")
    if request.get("operation") != "UPDATE" or not isinstance(old, dict) or not isinstance(new, dict):
        return {"allowed": True}
    before, after = _protection(old), _protection(new)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if not changed:
        return {"allowed": True}
    message = (
        f"bound-token-sidecar protects this Pod, and {', '.join(changed)} cannot be changed: create a new Pod"
    )
    return {"allowed": False, "status": {"code": FORBIDDEN, "reason": "Forbidden", "message": message}}


def _protection(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a Pod's protection that an update could change; empty if it has none."""
    metadata, spec = pod.get("metadata"), pod.get("spec")
    if not isinstance(spec, Mapping):
        return {}
    found: dict[str, Any] = {}
    for field in ("initContainers", "containers"):
        for one in spec.get(field) or []:
            if isinstance(one, Mapping) and one.get("name") == CONTAINER:
                found["the sidecar's container"] = one
    if not found:
        return {}
    for name in ("annotations", "labels"):
        held = metadata.get(name) if isinstance(metadata, Mapping) else None
        for key, value in (held or {}).items() if isinstance(held, Mapping) else ():
            if str(key).startswith(PREFIX):
                found[f"{name[:-1]} {key}"] = value
    return found


def _verdict(request: Mapping[str, Any], settings: InjectionSettings, mode: Mode) -> dict[str, Any]:
    manifest = request.get("object")
    if request.get("operation") != "CREATE" or request.get("subResource") or not isinstance(manifest, dict):
        return {"allowed": True}
    try:
        result = inject(manifest, settings, mode)
    except CannotInject as error:
        return _refused(error)
    return _allowed(manifest, result)


def _allowed(manifest: dict[str, Any], result: Injection) -> dict[str, Any]:
    operations = [one.as_json() for one in difference(manifest, result.manifest)]
    answer: dict[str, Any] = {"allowed": True}
    if operations:
        text = json.dumps(operations, separators=(",", ":")).encode()
        answer |= {"patchType": "JSONPatch", "patch": base64.b64encode(text).decode()}
    if result.notes and operations:
        answer["warnings"] = [f"bound-token-sidecar: {note}"[:WARNING_LENGTH] for note in result.notes]
    return answer


def _refused(error: CannotInject) -> dict[str, Any]:
    message = f"bound-token-sidecar cannot protect this Pod: {error}"
    return {"allowed": False, "status": {"code": UNPROCESSABLE, "reason": "Invalid", "message": message}}
