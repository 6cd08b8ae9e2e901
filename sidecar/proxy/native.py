"""What mypyc reads and nothing else does: an interpreted package needs no library of its compiler."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:
    Class = TypeVar("Class")

    def mypyc_attr(**_options: bool) -> Callable[[Class], Class]:
        """`allow_interpreted_subclasses`: a class outside of what is compiled, a test's say, may inherit."""
        return lambda decorated: decorated


__all__ = ["mypyc_attr"]
