"""Checks the structure of the parts of a Pod that the injector reads; all other parts are ignored.

An API server has checked them before it calls a webhook; a file has not been checked.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, StrictBool, StrictInt, StrictStr, ValidationError

from sidecar.injection.problem import CannotInject


class _Port(BaseModel):
    containerPort: StrictInt  # noqa: N815  # the name in Kubernetes
    name: StrictStr | None = None
    protocol: StrictStr | None = None


class _Target(BaseModel):
    port: StrictInt | StrictStr
    path: StrictStr | None = None
    host: StrictStr | None = None


class _GrpcTarget(BaseModel):
    port: StrictInt
    service: StrictStr | None = None


class _Action(BaseModel):
    httpGet: _Target | None = None  # noqa: N815  # as above
    tcpSocket: _Target | None = None  # noqa: N815  # as above
    grpc: _GrpcTarget | None = None


class _Lifecycle(BaseModel):
    postStart: _Action | None = None  # noqa: N815  # as above
    preStop: _Action | None = None  # noqa: N815  # as above


class _Container(BaseModel):
    name: StrictStr
    ports: list[_Port] | None = None
    startupProbe: _Action | None = None  # noqa: N815  # as above
    livenessProbe: _Action | None = None  # noqa: N815  # as above
    readinessProbe: _Action | None = None  # noqa: N815  # as above
    lifecycle: _Lifecycle | None = None


class _Volume(BaseModel):
    name: StrictStr


class _Reference(BaseModel):
    name: StrictStr | None = None


class _OperatingSystem(BaseModel):
    name: StrictStr


class _Spec(BaseModel):
    containers: list[_Container]
    initContainers: list[_Container] | None = None  # noqa: N815  # as above
    volumes: list[_Volume] | None = None
    imagePullSecrets: list[_Reference] | None = None  # noqa: N815  # as above
    hostNetwork: StrictBool | None = None  # noqa: N815  # as above
    nodeSelector: dict[StrictStr, StrictStr] | None = None  # noqa: N815  # as above
    os: _OperatingSystem | None = None
    restartPolicy: StrictStr | None = None  # noqa: N815  # as above
    terminationGracePeriodSeconds: StrictInt | None = None  # noqa: N815  # as above


class _Owner(BaseModel):
    kind: StrictStr
    name: StrictStr


class _Metadata(BaseModel):
    name: StrictStr | None = None
    generateName: StrictStr | None = None  # noqa: N815  # as above
    annotations: dict[StrictStr, StrictStr] | None = None
    labels: dict[StrictStr, StrictStr] | None = None
    ownerReferences: list[_Owner] | None = None  # noqa: N815  # as above


class _Pod(BaseModel):
    metadata: _Metadata | None = None
    spec: _Spec


def check_pod(pod: Mapping[str, Any]) -> None:
    """Raises `CannotInject`, with one problem for each field whose type is not that of Kubernetes."""
    _check(_Pod, pod)


def check_metadata(metadata: Any) -> None:
    """The same for an object's own metadata."""
    _check(_Metadata, metadata or {})


def _check(model: type[BaseModel], value: Any) -> None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        problems = (
            f"{'.'.join(str(part) for part in one['loc']) or 'the object'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise CannotInject(*problems) from None
