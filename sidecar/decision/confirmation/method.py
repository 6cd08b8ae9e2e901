"""What a confirmation method is."""

from typing import Protocol

from sidecar.decision.request import Presenter


class ConfirmationMethod(Protocol):
    """One member of `cnf`: how it looks, and how a connection confirms it."""

    @property
    def member(self) -> str:
        """The member's name in `cnf`."""

    @property
    def expected(self) -> str:
        """What a well-formed value is, in words."""

    def parse(self, value: object) -> bytes:
        """The decoded value; raises `Malformed`."""

    def confirm(self, value: bytes, presenter: Presenter) -> str:
        """The name of the member that `presenter` confirmed, as evidence; raises `Denied` when it did not."""
