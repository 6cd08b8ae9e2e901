"""What a request to an authorization server's endpoint claims about its client. Nothing of it is verified."""

from collections.abc import Mapping
from enum import Enum


class ClaimedMethod(Enum):
    """How a client says that it authenticates (RFC 6749 §2.3), as the request shows it."""

    NONE = "none"
    """Neither secret nor assertion: by its certificate, or not at all."""
    AUTHORIZATION = "authorization"
    """An `Authorization` field, whatever is in it."""
    SECRET = "client_secret"  # noqa: S105 — the name of a parameter
    """`client_secret` in the body."""
    ASSERTION = "client_assertion"
    """`client_assertion` in the body (RFC 7521 §4.2)."""


class TokenRequest:
    """A request that `http.token_form.read_form` found well-formed. Treat as immutable."""

    __slots__ = ("body", "client_id", "method", "parameters")

    def __init__(
        self, client_id: str, method: ClaimedMethod, parameters: Mapping[str, tuple[str, ...]], body: bytes
    ) -> None:
        self.client_id = client_id
        """Who sends it, by its own account: never empty."""
        self.method = method
        self.parameters = parameters
        """Name → values, decoded, in order. Those without a value are left out (RFC 6749 §3.1). Only `resource` and
        `audience` may have several.
        """
        self.body = body
        """As it came: what is passed on."""

    @property
    def has_authorization(self) -> bool:
        """Whether there is an `Authorization` field: then an authentication that fails is answered with 401."""
        return self.method is ClaimedMethod.AUTHORIZATION

    def __repr__(self) -> str:
        return f"TokenRequest({self.client_id!r}, {self.method.value})"
