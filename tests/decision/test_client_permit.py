from sidecar.decision.client_permit import admitted, tolerated
from sidecar.decision.denial import Denial, Reason
from sidecar.decision.match import RequestMatch
from sidecar.decision.permit import Permit
from sidecar.decision.policy import Rule
from sidecar.decision.registered_client.method import Otherwise, RegisteredClient
from sidecar.decision.registered_client.registry import UnauthenticatedClient

RULE = Rule("authorization_server.token", RequestMatch())


def test_permit_of_a_client_carries_who_it_is_and_no_token() -> None:
    client = UnauthenticatedClient(RegisteredClient("old", Otherwise()), None)
    permit = admitted(RULE, client)
    assert isinstance(permit, Permit)
    assert (permit.client, permit.token, permit.would_deny, permit.rule) == (client, None, None, RULE)


def test_tolerated_request_is_nobodys() -> None:
    denial = Denial(Reason.CLIENT_UNKNOWN)
    permit = tolerated(RULE, denial)
    assert (permit.client, permit.would_deny) == (None, denial)
