"""One request and its answer, as the bytes exchanged."""

from tests.support.conversation import Conversation

REQUEST = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"


def test_request_and_response_pass_as_they_are() -> None:
    with Conversation() as talk:
        client = talk.client()
        client.says(REQUEST)
        upstream = talk.upstream()
        assert upstream.hears() == REQUEST
        upstream.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.hears() == b"HTTP/1.1 204 No Content\r\n\r\n"
        assert talk.outcomes == [("/a", 204, "")]
