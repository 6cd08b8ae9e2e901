"""Conditions on the TLS that the client itself used: its version, and the group of its key exchange (RFC 8446 §4.2.7).

What is not known never holds: not the TLS of a client whose certificate another server hands on, and not the group
of a handshake of which OpenSSL tells none.
"""

from dataclasses import dataclass
from typing import Final

from sidecar.decision.condition import Condition, Facts
from sidecar.decision.failure import Failure
from sidecar.decision.reason import Reason

VERSIONS: Final = ("1.2", "1.3")
"""Versions of TLS that are spoken here, the older first."""
_UNKNOWN: Final = "unknown: the client's TLS ended elsewhere, or nobody said what it was"


class TlsCondition(Condition):
    """What a rule asks of the client's TLS."""

    __slots__ = ()
    subject = "tls"
    clause = "RFC 8446 §4.2"


@dataclass(frozen=True, slots=True)
class TlsVersion(TlsCondition):
    """The client's TLS has this version or a later one."""

    minimum: str
    """One of `VERSIONS`."""

    @property
    def check(self) -> str:
        """`tls.minimum_version`."""
        return f"{self.subject}.minimum_version"

    def failure(self, facts: Facts) -> Failure | None:
        """The version that was negotiated."""
        came = facts.presenter.tls_version
        if came in VERSIONS[VERSIONS.index(self.minimum) :]:
            return None
        return Failure(self.check, Reason.CONDITION_FAILED, str(self), came or _UNKNOWN)

    def __str__(self) -> str:
        return f"{self.minimum} or later"


@dataclass(frozen=True, slots=True)
class TlsGroup(TlsCondition):
    """The keys of the client's connection were exchanged in one of these groups."""

    groups: tuple[str, ...]
    """Names of `key_exchange.GROUPS`."""

    @property
    def check(self) -> str:
        """`tls.groups`."""
        return f"{self.subject}.groups"

    def failure(self, facts: Facts) -> Failure | None:
        """The group that was negotiated."""
        presenter = facts.presenter
        if presenter.tls_group in self.groups:
            return None
        came = presenter.tls_group or (
            f"none in TLS {presenter.tls_version}" if presenter.tls_version else ""
        )
        return Failure(self.check, Reason.CONDITION_FAILED, str(self), came or _UNKNOWN)

    def __str__(self) -> str:
        return " or ".join(self.groups)
