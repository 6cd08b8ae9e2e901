"""Mistakes that products of this kind have made with HTTP/1.1 and TLS, and what this one does."""

import contextlib
import ssl
from pathlib import Path

import pytest

from sidecar.decision.certificate_condition import CertificateName, NameField, NamePattern
from sidecar.decision.denial import Denial, Reason
from sidecar.proxy.configuration import AtHandshake, Limits, Trust
from tests.differential.corpus import FRAMING
from tests.differential.smuggling import CHUNKED_SPELLINGS, shapes
from tests.proxy.conftest import Converse
from tests.support.conversation import Conversation
from tests.support.live_server import LiveServer, digest, tls_settings
from tests.support.mint import SigningKey
from tests.support.pki import Authority, Pki, Profile, self_signed, subject_alternative_names
from tests.support.records import STARTED
from tests.support.tls_client import Truncated, Wire, client_context, versioned
from tests.support.world import Keys, authorizer, decide, denied, head, permitted, policy, presenter, rule

GET = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: api\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


# --- where a request ends


SHAPES = dict(shapes("token"))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", [1, 1 << 20], ids=["byte by byte", "at once"])
def test_request_hidden_in_another_never_reaches_the_upstream(
    talk: Conversation, name: str, size: int
) -> None:
    """https://github.com/python-hyper/h11/security/advisories/GHSA-vqfr-h8mv-ghfj"""
    talk.gate.refuse("/forbidden")
    client, shape = talk.client(), SHAPES[name]
    client.says(*(shape[start : start + size] for start in range(0, len(shape), size)))
    seen: list[str] = []
    for upstream in talk.upstreams:
        upstream.says(EMPTY)
        with contextlib.suppress(Truncated):  # begun and given up: no server acts on it
            while (request := upstream.request()) is not None:
                seen.append(request.target)
    assert seen in ([], ["/accounts/1"])
    assert len(seen) <= talk.gate.permitted


REFUSED_FRAMING = {
    name: message
    for name, message in FRAMING.items()
    if name
    not in {
        "content_length",
        "chunked",
        "chunked_with_trailer",
        "chunked_with_extension",
        "chunk_size_leading_zeros",
        "coding_in_capitals",
        "length_on_get",
        "trailer_content_length",
        # refused once their body turns out to be malformed: the upstream never sees them whole
        *(key for key in FRAMING if key.startswith("chunk_")),
    }
}


@pytest.mark.parametrize("name", REFUSED_FRAMING)
def test_framing_that_two_readers_could_read_differently_is_400_and_close(
    talk: Conversation, name: str
) -> None:
    client = talk.client()
    client.says(REFUSED_FRAMING[name] + GET)
    assert client.statuses() == [400]
    assert client.got_goodbye
    assert talk.untouched


@pytest.mark.parametrize("name", [key for key in FRAMING if key.startswith("chunk_")])
def test_malformed_chunk_is_never_a_whole_request_upstream(talk: Conversation, name: str) -> None:
    client = talk.client()
    client.says(FRAMING[name] + GET)
    whole = [upstream.hears().count(b"0\r\n\r\n") for upstream in talk.upstreams]
    assert sum(whole) == (name == "chunk_size_leading_zeros")


@pytest.mark.parametrize("spelling", [key for key in CHUNKED_SPELLINGS if key != "none"])
def test_no_spelling_of_chunked_passes_beside_a_length(talk: Conversation, spelling: str) -> None:
    client = talk.client()
    client.says(
        b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\n"
        + CHUNKED_SPELLINGS[spelling]
        + b"\r\n\r\n0\r\n\r\n"
    )
    for upstream in talk.upstreams:
        assert b"ransfer" not in upstream.hears()
    assert not talk.upstreams or spelling == "underscore"


def test_data_after_an_upgrade_that_was_refused_is_not_a_request(talk: Conversation) -> None:
    """https://github.com/envoyproxy/envoy/security/advisories/GHSA-rj35-4m94-77jh"""
    talk.gate.refuse("/chat")
    client = talk.client()
    client.says(UPGRADE + GET)
    client.says(GET)
    assert client.statuses() == [403]
    assert client.got_goodbye
    assert talk.untouched
    assert [head.path for head in talk.gate.asked] == ["/chat"]


def test_data_after_an_upgrade_that_the_upstream_declined_is_not_a_request(talk: Conversation) -> None:
    client = talk.client()
    client.says(UPGRADE + GET)
    upstream = talk.upstream()
    upstream.says(EMPTY)
    assert client.statuses() == [200]
    assert client.got_goodbye
    assert [seen.target for seen in upstream.requests()] == ["/chat"]


def test_pipelined_request_does_not_ride_on_the_decision_before_it(talk: Conversation) -> None:
    talk.gate.refuse("/admin")
    client = talk.client()
    client.says(GET + GET.replace(b"/a", b"/admin") + GET)
    upstream = talk.upstream()
    upstream.says(EMPTY, EMPTY)
    assert client.statuses() == [200, 403, 200]
    assert [seen.target for seen in upstream.requests()] == ["/a", "/a"]


# --- where a response ends


def test_storm_of_interim_responses_ends(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(*[b"HTTP/1.1 102 Processing\r\n\r\n"] * 40)
    assert upstream.is_closed
    assert client.answer().status == 502


def test_early_response_ends_the_request(talk: Conversation) -> None:
    client = talk.client()
    client.says(b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 100\r\n\r\nGET /admin HTTP/1.1\r\n")
    talk.upstream().says(EMPTY)
    client.says(b"Host: api\r\n\r\n" + GET)
    assert client.statuses() == [200]
    assert client.got_goodbye
    assert len(talk.gate.asked) == 1


@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", b"200 OK"), (b"GET", b"204 No Content"), (b"GET", b"304 Not Modified")]
)
def test_body_where_there_can_be_none_is_nobodys_answer(
    talk: Conversation, method: bytes, status: bytes
) -> None:
    client = talk.client()
    client.says(GET.replace(b"GET", method))
    upstream = talk.upstream()
    upstream.says(
        b"HTTP/1.1 " + status + b"\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    assert client.hears().count(b"HTTP/1.1") == 1
    client.says(GET)
    assert upstream.is_closed
    talk.upstream().says(EMPTY)
    assert client.statuses() == [200]


def test_response_that_ends_with_its_connection_is_whole_only_then(talk: Conversation) -> None:
    client = talk.client()
    client.says(GET)
    upstream = talk.upstream()
    upstream.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert not client.hears().endswith(b"0\r\n\r\n")
    upstream.leaves()
    assert client.hears().endswith(b"0\r\n\r\n")


# --- TLS


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_session_resumed_under_other_settings_does_not_skip_the_client_certificate(
    tmp_path: Path, pki: Pki, version: str
) -> None:
    """https://nvd.nist.gov/vuln/detail/CVE-2025-23419 https://github.com/envoyproxy/envoy/issues/21235"""
    lax = tls_settings(tmp_path, pki)
    strict = tls_settings(tmp_path, pki, trust=Trust.CA, at_handshake=AtHandshake.REQUIRED)
    with LiveServer(lax, strict) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        client = versioned(None, version)
        with Wire.tls(server.port(0), context=client) as wire:
            assert wire.request().status == 401
            session = wire.session
        with pytest.raises(ssl.SSLError), Wire.tls(server.port(1), context=client, session=session) as wire:
            wire.request()
        assert server.thumbprints() == [None]


def test_failed_handshake_is_told_why(tmp_path: Path, pki: Pki) -> None:
    """https://github.com/python/cpython/issues/98078"""
    with LiveServer(tls_settings(tmp_path, pki, at_handshake=AtHandshake.REQUIRED)) as server:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"), Wire.tls(server.port()) as wire:
            wire.request()
        assert server.handshakes(1)[0][0] == "certificate_missing"


def test_certificate_is_that_of_this_connection(tmp_path: Path, pki: Pki) -> None:
    identities = [pki.client, pki.other_client, pki.self_signed_client, None] * 3
    with LiveServer(tls_settings(tmp_path, pki)) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        wires = [Wire.tls(server.port(), identity) for identity in identities]
        for wire in reversed(wires):
            assert wire.request().status == 401
        for wire in wires:
            wire.close()
        assert server.thumbprints() == [digest(one) if one else None for one in reversed(identities)]


def test_name_with_a_nul_is_no_name(signing_key: SigningKey) -> None:
    """https://github.com/envoyproxy/envoy/security/advisories/GHSA-rwjg-c3h2-f57p"""
    wanted = CertificateName(NameField.SAN_DNS, (NamePattern("good.example", NameField.SAN_DNS),))
    gate = authorizer(policy(rule(conditions=(wanted,))), Keys.of(signing_key))
    for names, passes in (
        (["good.example"], True),
        (["good.example\0.evil.example"], False),
        (["good.example", "x\0y"], False),
    ):
        identity = self_signed(Profile(names=tuple(subject_alternative_names(dns=names))))
        decision = decide(gate, head(signing_key.token(identity)), presenter(identity))
        assert permitted(decision) if passes else denied(decision).reason is Reason.CONDITION_FAILED


def test_renewed_certificate_is_used_without_dropping_a_connection(tmp_path: Path, pki: Pki) -> None:
    """https://github.com/dadrus/heimdall/issues/1227 https://github.com/kedacore/keda/issues/1715"""
    renewed = Authority.root("renewed").server()
    with LiveServer(tls_settings(tmp_path / "old", pki)) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        trusting_old = client_context(trust=pki.server_authority.certificate)
        with Wire.tls(server.port(), context=trusting_old) as wire:
            assert wire.request().status == 401
            files = renewed.write(tmp_path, "renewed")
            settings = tls_settings(
                tmp_path / "new", pki, certificate_file=files.certificate, private_key_file=files.private_key
            )
            server.reload(settings)
            assert wire.request().status == 401
        with pytest.raises(ssl.SSLCertVerificationError):
            Wire.tls(server.port(), context=client_context(trust=pki.server_authority.certificate))
        with Wire.tls(server.port()) as wire:
            assert wire.secure.getpeercert(binary_form=True) == renewed.der


def test_broken_certificate_file_keeps_the_old_one(tmp_path: Path, pki: Pki) -> None:
    """https://github.com/istio/istio/issues/43092"""
    settings = tls_settings(tmp_path, pki)
    with LiveServer(settings) as server:
        server.gate.refuse("/", Reason.CREDENTIALS_MISSING)
        half = settings.certificate_file.read_bytes()[:200]
        settings.certificate_file.write_bytes(half)
        with pytest.raises(Exception, match=r".*"):
            server.reload(settings)
        with Wire.tls(server.port(), context=client_context(trust=pki.server_authority.certificate)) as wire:
            assert wire.request().status == 401


# --- time and numbers


def test_slow_head_body_and_reader_all_end(converse: Converse) -> None:
    talk = converse(limits=Limits(buffered_bytes=10_000))
    head_, body, reader = talk.client(), talk.client(), talk.client()
    reader.stops_reading()
    reader.says(GET)
    talk.upstream().says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
    head_.says(GET[:5])
    body.says(b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(70):
        talk.later(1)
        head_.says(b"x")
        body.says(b"x")
    assert head_.answer().status == 408
    assert body.answer().status == 408
    assert reader.was_cut


def test_half_open_connection_ends(talk: Conversation) -> None:
    silent, idle = talk.client(shakes_hands=False), talk.client()
    talk.later(11)
    assert silent.is_closed
    talk.later(70)
    assert idle.is_closed


def test_thousand_idle_connections_delay_nobody(talk: Conversation) -> None:
    idle = [talk.client() for _ in range(1000)]
    talk.later(30)
    busy = talk.client()
    busy.says(GET)
    talk.upstream().says(EMPTY)
    assert busy.statuses() == [200]
    assert not any(client.is_closed for client in idle)
    talk.later(80)
    assert all(client.is_closed for client in idle)


def test_websocket_does_not_outlive_its_token(talk: Conversation) -> None:
    """https://github.com/hasura/graphql-engine/issues/578"""
    talk.gate.valid_until = STARTED + 60
    client = talk.client()
    client.says(UPGRADE)
    talk.upstream().says(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    )
    client.hears()
    talk.later(61)
    assert client.hears() == b"\x88\x0f\x03\xf0token expired"
    assert talk.record.ended_by == "token_expired"


def test_what_would_have_been_refused_is_in_the_record_of_a_dry_run(talk: Conversation) -> None:
    """https://github.com/istio/ztunnel/issues/1745"""
    would = Denial(Reason.BINDING_MISMATCH)
    talk.gate.verdicts["/a"] = talk.gate.permit(would_deny=would)
    client = talk.client()
    client.says(GET)
    talk.upstream().says(EMPTY)
    decision = talk.record.decision
    assert decision is not None
    assert not isinstance(decision, Denial)
    assert decision.would_deny is would


def test_nothing_hidden_in_a_request_without_a_good_token_reaches_anyone(
    converse: Converse, signing_key: SigningKey, pki: Pki
) -> None:
    talk = converse(decides=authorizer(policy(), Keys.of(signing_key)))
    for shape in SHAPES.values():
        talk.client(pki.client).says(shape)
    assert talk.untouched
    assert {status for _, status, _ in talk.outcomes} == {400, 401}
