"""Kubernetes' own schemas, oldest to newest, read strictly: a field that a version does not know is an error."""

from typing import Any

from kubernetes_validate.utils import SchemaNotFoundError, ValidationError, all_versions, validate

VERSIONS: list[str] = all_versions()
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]


def minor_of(version: str) -> str:
    """1.29 of 1.29.0."""
    return ".".join(version.split(".")[:2])


def schema_errors(manifest: dict[str, Any], version: str) -> list[str]:
    """What the schema of `version` says against `manifest`, kinds it does not know included."""
    try:
        validate(manifest, version, strict=True)
    except ValidationError as error:
        return [f"{'.'.join(str(part) for part in error.path)}: {error.message}"]
    except SchemaNotFoundError as error:
        return [str(error.message)]
    return []
