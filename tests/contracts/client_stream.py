"""What an exchange does with its client, whatever wire that came over. Each wire's tests inherit from
`ClientStreamContract` and say how a client of that wire asks and what it sees.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from sidecar.decision.denial import Denial, Reason
from sidecar.proxy.configuration import Limits, Timeouts
from tests.proxy.conftest import Converse
from tests.support.conversation import UPSTREAM, Conversation
from tests.support.records import RULE

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SWITCHES = b"HTTP/1.1 101 Switching\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Heard:
    """What the client has got so far."""

    status: int = 0
    body: bytes = b""
    interims: tuple[int, ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()
    is_whole: bool = False
    was_cut: bool = False


class Caller(ABC):
    """A client that makes one request."""

    @abstractmethod
    def asks(
        self, path: str, method: str = "GET", *, size: int | None = None, body: bytes = b"", upgrade: str = ""
    ) -> None:
        """Sends a head and what there is of the body, of which `size` bytes are announced."""

    @abstractmethod
    def sends(self, data: bytes, *, is_all: bool = False) -> None:
        """More of the body, or of a tunnel."""

    @abstractmethod
    def leaves(self) -> None: ...

    @abstractmethod
    def stops_reading(self) -> None: ...

    @abstractmethod
    def reads_on(self) -> None: ...

    @abstractmethod
    def time_passes(self, seconds: float) -> None: ...

    @abstractmethod
    def heard(self, to: str = "GET") -> Heard: ...

    @property
    @abstractmethod
    def may_send(self) -> bool:
        """Whether more of the request is taken now."""


class ClientStreamContract(ABC):
    """Subclasses make the caller."""

    @abstractmethod
    def caller(self, talk: Conversation) -> Caller: ...

    def test_permitted_request_gets_the_answer_of_the_upstream(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        caller.asks("/a")
        upstream = talk.upstream()
        request = upstream.request()
        assert request is not None
        assert (request.method, request.target) == ("GET", "/a")
        upstream.says(b"HTTP/1.1 203 Fine\r\nContent-Length: 5\r\n\r\nhello")
        assert caller.heard() == Heard(203, b"hello", is_whole=True)
        assert talk.outcomes == [("/a", 203, "")]
        assert talk.record.bytes_out == 5

    def test_refusal_never_reaches_the_upstream(self, talk: Conversation) -> None:
        talk.gate.refuse("/a")
        caller = self.caller(talk)
        caller.asks("/a")
        heard = caller.heard()
        assert (heard.status, heard.is_whole) == (403, True)
        assert talk.record.request_id.encode() in heard.body
        assert talk.untouched
        assert talk.outcomes == [("/a", 403, "scope_insufficient")]

    def test_decision_that_takes_time_is_waited_for(self, talk: Conversation) -> None:
        talk.ponders("/a")
        caller = self.caller(talk)
        caller.asks("/a")
        assert talk.untouched
        talk.decide("/a")
        talk.upstream().says(EMPTY)
        assert caller.heard().status == 200

    def test_decision_after_the_client_has_left_is_not_acted_on(self, talk: Conversation) -> None:
        talk.ponders("/a")
        caller = self.caller(talk)
        caller.asks("/a")
        caller.leaves()
        talk.decide("/a")
        assert talk.untouched
        assert talk.outcomes == [("/a", 0, "issuer_unavailable")]

    def test_body_goes_on_as_it_comes(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        caller.asks("/a", "PUT", size=6, body=b"ab")
        upstream = talk.upstream()
        assert upstream.hears().endswith(b"\r\n\r\nab")
        caller.sends(b"cd")
        caller.sends(b"ef", is_all=True)
        assert upstream.hears() == b"cdef"
        upstream.says(EMPTY)
        assert caller.heard().status == 200
        assert talk.record.bytes_in == 6

    def test_body_waits_with_the_client_while_the_decision_is_pending(self, talk: Conversation) -> None:
        talk.ponders("/a")
        caller = self.caller(talk)
        caller.asks("/a", "PUT", size=4)
        caller.sends(b"ab")
        assert not caller.may_send
        talk.decide("/a")
        assert caller.may_send
        caller.sends(b"cd", is_all=True)
        request = talk.upstream().request()
        assert request is not None
        assert request.body == b"abcd"
        talk.upstreams[0].says(EMPTY)
        assert caller.heard().status == 200

    def test_body_over_the_limit_is_refused(self, converse: Converse) -> None:
        talk = converse(limits=Limits(body_bytes=3))
        caller = self.caller(talk)
        caller.asks("/a", "PUT", size=4, body=b"ab")
        assert caller.heard().status == 413
        assert talk.outcomes == [("/a", 413, "body_too_large")]

    def test_slow_upstream_holds_the_client(self, converse: Converse) -> None:
        talk = converse(limits=Limits(buffered_bytes=100))
        talk.new_upstreams_read = False
        caller = self.caller(talk)
        caller.asks("/a", "PUT", size=2000, body=b"x" * 1000)
        assert not caller.may_send
        upstream = talk.upstream()
        upstream.reads()
        assert caller.may_send
        caller.sends(b"x" * 1000, is_all=True)
        upstream.says(EMPTY)
        assert caller.heard().status == 200

    def test_client_that_stops_reading_holds_the_upstream(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        caller.asks("/a")
        upstream = talk.upstream()
        upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 200001\r\n\r\n")
        caller.stops_reading()
        upstream.says(b"x" * 200_000)
        assert not upstream.is_read
        caller.reads_on()
        assert upstream.is_read
        upstream.says(b"x")
        assert caller.heard().body == b"x" * 200_001

    def test_interim_answers_precede_the_final_one(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        caller.asks("/a")
        talk.upstream().says(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", EMPTY)
        assert caller.heard() == Heard(200, interims=(103,), is_whole=True)

    def test_answer_without_a_length_comes_in_pieces_with_its_trailers(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        caller.asks("/a")
        talk.upstream().says(CHUNKED, b"2\r\nab\r\n", b"1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n")
        assert caller.heard() == Heard(200, b"abc", trailers=(("X-Sum", "1"),), is_whole=True)

    def test_answer_to_head_has_no_content(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        caller.asks("/a", "HEAD")
        talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
        assert caller.heard("HEAD") == Heard(200, is_whole=True)

    def test_answer_that_breaks_off_is_visibly_incomplete(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        caller.asks("/a")
        upstream = talk.upstream()
        upstream.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        upstream.resets()
        heard = caller.heard()
        assert heard.was_cut
        assert not heard.is_whole
        assert talk.outcomes == [("/a", 200, "upstream_broken")]

    def test_upstream_out_of_reach_is_said(self, talk: Conversation) -> None:
        talk.reachable = False
        caller = self.caller(talk)
        caller.asks("/a")
        assert caller.heard().status == 502
        assert talk.outcomes == [("/a", 502, "upstream_refused")]

    def test_client_that_leaves_ends_the_request_upstream(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        caller.asks("/a")
        caller.leaves()
        assert talk.upstream().is_closed
        assert talk.record.ended_by == "client"

    def test_answer_that_does_not_come_is_a_504(self, converse: Converse) -> None:
        talk = converse(upstream=replace(UPSTREAM, response_timeout=5.0))
        caller = self.caller(talk)
        caller.asks("/a")
        caller.time_passes(6.0)
        assert caller.heard().status == 504
        assert talk.outcomes == [("/a", 504, "upstream_timeout")]

    def test_answer_that_stalls_is_cut(self, converse: Converse) -> None:
        talk = converse(upstream=replace(UPSTREAM, stream_timeout=5.0))
        caller = self.caller(talk)
        caller.asks("/a")
        talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        caller.time_passes(6.0)
        assert caller.heard().was_cut
        assert talk.record.ended_by == "timeout"

    def test_body_that_comes_too_slowly_is_refused(self, converse: Converse) -> None:
        talk = converse(timeouts=Timeouts(body_rate_bytes=100, body_rate_window=10.0))
        caller = self.caller(talk)
        caller.asks("/a", "PUT", size=4000, body=b"ab")
        caller.time_passes(11.0)
        assert caller.heard().status == 408
        assert talk.outcomes == [("/a", 408, "request_timeout")]

    def test_stream_ends_when_its_token_expires(self, talk: Conversation) -> None:
        talk.gate.valid_until = talk.wall + 5.0
        caller = self.caller(talk)
        caller.asks("/a")
        talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        caller.time_passes(6.0)
        assert caller.heard().was_cut
        assert talk.record.ended_by == "token_expired"

    def test_other_protocol_passes_both_ways(self, talk: Conversation) -> None:
        caller = self.caller(talk)
        talk.gate.verdicts["/a"] = talk.gate.permit(rule=replace(RULE, upgrade=frozenset({"chat"})))
        caller.asks("/a", upgrade="chat")
        upstream = talk.upstream()
        upstream.hears()
        upstream.says(SWITCHES)
        caller.sends(b"ping")
        assert upstream.hears() == b"ping"
        upstream.says(b"pong")
        heard = caller.heard()
        assert (heard.status, heard.body) == (101, b"pong")
        caller.leaves()
        assert (talk.record.bytes_in, talk.record.bytes_out) == (4, 4)

    def test_fault_of_ours_is_a_500_and_no_pass(self, converse: Converse) -> None:
        talk = converse(expected_bugs=1)
        talk.ponders("/a")
        caller = self.caller(talk)
        caller.asks("/a")
        talk.fail("/a", RuntimeError("secret"))
        heard = caller.heard()
        assert heard.status == 500
        assert b"secret" not in heard.body
        assert talk.untouched

    def test_denial_that_comes_late_is_the_answer(self, talk: Conversation) -> None:
        talk.ponders("/a")
        caller = self.caller(talk)
        caller.asks("/a")
        talk.decide("/a", Denial(Reason.TOKEN_EXPIRED))
        assert caller.heard().status == 401
        assert talk.untouched
