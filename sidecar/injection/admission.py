"""AdmissionReview in, AdmissionReview out (admission.k8s.io/v1).

Whatever the Pod looks like, the answer is whole: allowed with all of the patch, allowed as it is, or refused
with a sentence that says what to change. A request that is not an AdmissionReview raises `BadReview`.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from sidecar.injection.manifest import Injection, inject
from sidecar.injection.patch import difference
from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import InjectionSettings

API_VERSION = "admission.k8s.io/v1"
WARNING_LENGTH = 256
UNPROCESSABLE = 422


class BadReview(Exception):
    """The request's body is not an AdmissionReview that this webhook can answer."""


def review(body: bytes, settings: InjectionSettings) -> dict[str, Any]:
    """Answer one AdmissionReview, given as JSON text. Raises `BadReview`."""
    request = _request(body)
    try:
        response = {"uid": request["uid"], **_verdict(request, settings)}
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


def _verdict(request: Mapping[str, Any], settings: InjectionSettings) -> dict[str, Any]:
    manifest = request.get("object")
    if request.get("operation") != "CREATE" or request.get("subResource") or not isinstance(manifest, dict):
        return {"allowed": True}
    try:
        result = inject(manifest, settings, opt_in=True)
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
