"""Which build of the sidecar runs: compiled by mypyc, or interpreted."""

import platform
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

import sidecar


def is_compiled() -> bool:
    """Whether the hot path is compiled; nothing of it is imported for the answer."""
    spec = find_spec("sidecar.authorizer")
    return spec is not None and str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES))


def build() -> str:
    """`compiled` or `interpreted`."""
    return "compiled" if is_compiled() else "interpreted"


def version() -> str:
    """For `sidecar --version`: name, version, build and Python."""
    slow = "" if is_compiled() else ": for trying out, it costs twice the CPU and more"
    return f"bound-token-sidecar {sidecar.__version__} ({build()}{slow}; Python {platform.python_version()})"
