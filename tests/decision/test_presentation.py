from sidecar.decision.presentation import Presentation
from sidecar.decision.token import AccessToken
from tests.support.world import head, presenter


def test_presentation_is_what_one_request_brings() -> None:
    request, connection, token = head(), presenter(), AccessToken("token", b"key")
    given = Presentation(request, connection, token, 7)
    assert (given.head, given.presenter, given.token, given.now) == (request, connection, token, 7)
