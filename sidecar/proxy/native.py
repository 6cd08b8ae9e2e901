"""Declarations that only mypyc uses: an interpreted package does not need a library of the compiler."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mypy_extensions import i64, mypyc_attr
else:
    Class = TypeVar("Class")

    def mypyc_attr(**_options: bool) -> Callable[[Class], Class]:
        """`allow_interpreted_subclasses`: an interpreted class, such as one of a test, may inherit."""
        return lambda decorated: decorated

    i64 = int
    """An integer that fits into 64 bits: compiled it is one of C, and nothing tells when it overflows."""


__all__ = ["i64", "mypyc_attr"]
