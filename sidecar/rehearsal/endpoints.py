"""Decides a hypothetical request to an authorization server's endpoint, with the code of the data plane.

Nothing is sent to the server, and nothing is signed for it.
"""

from dataclasses import dataclass
from typing import Final

from sidecar.authorizer import Authorizer
from sidecar.decision.client_permit import Client, ClientPermit
from sidecar.decision.denial import Denial
from sidecar.decision.explanation import Step, Verdict
from sidecar.decision.reason import Reason
from sidecar.decision.registered_client.method import ClientMethod
from sidecar.decision.registered_client.registry import AuthenticatedClient, ClientRegistry
from sidecar.decision.request import Presenter
from sidecar.entry.authorization_server import AuthorizationServer, ServerParts, endpoint_paths
from sidecar.entry.token_course import TokenCourse
from sidecar.proxy.authorization_server.configuration import AuthorizationServerSettings, EndpointKind
from sidecar.proxy.exchange.endpoints import Outgoing
from sidecar.rehearsal.request import Received


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision about a request to an endpoint."""

    decision: ClientPermit | Denial
    lines: bytes = b""
    """The fields that tell the server the client, without our credentials."""

    def told(self, names: frozenset[str]) -> tuple[str, ...]:
        """Which of these names, in lower case, are among the fields."""
        said = [line.partition(b":")[0].decode("latin-1") for line in self.lines.split(b"\r\n") if line]
        return tuple([name for name in said if name.lower() in names])


class RehearsedEndpoints:
    """The endpoints of one configuration."""

    def __init__(
        self,
        settings: AuthorizationServerSettings,
        authorizer: Authorizer,
        clients: ClientRegistry,
    ) -> None:
        """`clients` are those of `settings`, made by `proxy.authorization_server.clients.registry`."""
        self.hand_over_names = frozenset(name.lower() for name in settings.hand_over_names)
        parts = ServerParts(clients, authorizer, None, {})
        self._server = AuthorizationServer(settings, parts, lambda _name, _detail: None)

    def decided(self, received: Received, body: bytes, presenter: Presenter, now: float) -> Decided | None:
        """None for a request that is not to an endpoint. `now`: seconds since the epoch."""
        request, head = received.request, received.head
        if request is None or head is None or not self._server.covers(request.target):
            return None
        course = self._server.course(head)
        if isinstance(course, Denial):
            return Decided(course)
        if not isinstance(course, TokenCourse):
            return None
        decision = course.decide(head, request, received.fields, body, presenter=presenter, now=now)
        if isinstance(decision, Denial):
            return Decided(decision)
        assert isinstance(decision, ClientPermit)  # noqa: S101 — at an endpoint every other result is a denial
        outgoing = course.outgoing(decision, head, received.fields, body, presenter)
        assert isinstance(outgoing, Outgoing)  # noqa: S101 — there are no credentials of ours to wait for
        return Decided(decision, outgoing.lines)


def goes_to_endpoint(settings: AuthorizationServerSettings | None, target: str) -> bool:
    """Whether a request target is, or could be interpreted as, the path of an endpoint."""
    return settings is not None and endpoint_paths(settings).covers(target.encode("utf-8", "surrogateescape"))


def token_endpoint(settings: AuthorizationServerSettings) -> str:
    """The path at which clients find the token endpoint."""
    return next(one.public for one in settings.endpoints if one.kind is EndpointKind.TOKEN)


# --- in words

_PASSED: Final = "as expected"

_STAGES: Final[tuple[tuple[str, str, str, frozenset[Reason]], ...]] = (
    ("endpoint", "RFC 6749 §3.2", "the path of an endpoint", frozenset({Reason.ENDPOINT_UNKNOWN})),
    (
        "form",
        "RFC 6749 §3.2",
        "a form of one meaning",
        frozenset(
            {Reason.FORM_MALFORMED, Reason.PARAMETER_REPEATED, Reason.BODY_TOO_LARGE, Reason.TARGET_TOO_LONG}
        ),
    ),
    (
        "client_id",
        "RFC 8705 §2",
        "a registered client",
        frozenset(
            {
                Reason.CLIENT_ID_MISSING,
                Reason.CLIENT_ID_MISMATCH,
                Reason.CLIENT_AUTHENTICATION_REPEATED,
                Reason.CLIENT_UNKNOWN,
            }
        ),
    ),
    ("method", "RFC 6749 §2.3", "as it is registered", frozenset({Reason.CLIENT_METHOD_MISMATCH})),
    (
        "certificate",
        "RFC 8705 §2",
        "a client's certificate",
        frozenset(
            {
                Reason.CLIENT_CERTIFICATE_MISSING,
                Reason.CLIENT_CERTIFICATE_UNFIT,
                Reason.CLIENT_CERTIFICATE_EXPIRED,
            }
        ),
    ),
    ("registered", "RFC 8705 §2.1.2", "what is registered", frozenset({Reason.CLIENT_CERTIFICATE_MISMATCH})),
    (
        "chain",
        "RFC 8705 §2.1",
        "an authority of the client",
        frozenset({Reason.CLIENT_CERTIFICATE_UNTRUSTED}),
    ),
)
"""The checks of a request to an endpoint, in order: check, section, what is expected, why it may fail."""


def steps(decision: ClientPermit | Denial) -> list[Step]:
    """The checks and their results."""
    client = decision.client if isinstance(decision, ClientPermit) else None
    denial = decision.would_deny if isinstance(decision, ClientPermit) else decision
    found: list[Step] = []
    verdict = Verdict.PASSED
    for check, clause, expected, reasons in _STAGES:
        if denial is not None and denial.reason in reasons:
            failure = denial.failures[0] if denial.failures else None
            wanted, came = (failure.expected, failure.presented) if failure else (expected, "another")
            found.append(Step(check, clause, wanted, came, Verdict.FAILED))
            verdict = Verdict.NOT_REACHED
            continue
        presented = _presented(check, client) if verdict is Verdict.PASSED else ""
        if presented is not None:
            found.append(Step(check, clause, expected, presented, verdict))
    return found


_OF_CERTIFICATE: Final = frozenset({"certificate", "registered", "chain"})


def _presented(check: str, client: Client | None) -> str | None:
    """The presented value, if the check passed; None for a check that does not apply to this client."""
    if client is None:
        return _PASSED
    if not isinstance(client, AuthenticatedClient):
        said = {"client_id": client.client_id, "method": "other: the server authenticates it"}
        return None if check in _OF_CERTIFICATE else said.get(check, _PASSED)
    if check == "chain" and client.client.method is not ClientMethod.TLS_CLIENT_AUTH:
        return None  # RFC 8705 §2.2: the chain is not validated
    said = {
        "client_id": client.client_id,
        "method": client.client.method.value,
        "certificate": client.certificate.called,
        "registered": client.matched,
    }
    return said.get(check, _PASSED)
