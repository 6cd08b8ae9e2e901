"""Whether a Pod is for Windows nodes, by any of the settings that Kubernetes has for this."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.injection.parts import containers

_LABELS: Final = frozenset({"kubernetes.io/os", "beta.kubernetes.io/os"})
"""Well-known node labels whose value is the operating system."""
_BUILD: Final = "node.kubernetes.io/windows-build"
"""A well-known label that only Windows nodes have."""


def is_for_windows(spec: Mapping[str, Any]) -> bool:
    """Whether `spec` (of a Pod) requires Windows: by name, node selector, required affinity, or options."""
    return (
        _at(spec, "os", "name") == "windows"
        or any(_is_windows_label(key, value) for key, value in _mapping(spec.get("nodeSelector")).items())
        or _needs_windows_node(spec)
        or any(
            _at(one, "securityContext", "windowsOptions")
            for one in (spec, *containers(spec), *containers(spec, "initContainers"))
        )
    )


def _is_windows_label(key: object, value: object) -> bool:
    return key == _BUILD or (key in _LABELS and value == "windows")


def _needs_windows_node(spec: Mapping[str, Any]) -> bool:
    """A node must match one term, and all expressions of that term: so each term must require Windows."""
    required = _at(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = list(_mappings(_mapping(required).get("nodeSelectorTerms")))
    return bool(terms) and all(
        any(_says_windows(one) for one in _mappings(term.get("matchExpressions"))) for term in terms
    )


def _says_windows(expression: Mapping[str, Any]) -> bool:
    key, operator, values = (expression.get(name) for name in ("key", "operator", "values"))
    if key == _BUILD:
        return operator in {"In", "Exists"}
    return key in _LABELS and operator == "In" and values == ["windows"]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in (value if isinstance(value, list) else []) if isinstance(one, Mapping))


def _at(value: Any, *path: str) -> Any:
    for step in path:
        value = _mapping(value).get(step)
    return value
