import pytest

from sidecar.decision.access_token import AccessToken, LastPresented
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.request import Presenter, RequestHead
from tests.support.pki import Pki


def test_head_has_no_credentials_and_is_no_preflight_unless_said() -> None:
    head = RequestHead("GET", "/a?b", "/a", "b", "api.test")
    assert (head.authorization, head.preflight) == ((), False)
    assert (head.method, head.target, head.path, head.query, head.host) == (
        "GET",
        "/a?b",
        "/a",
        "b",
        "api.test",
    )


def test_what_is_remembered_of_one_connection_is_not_anothers(pki: Pki) -> None:
    certificate = pki.client.presented
    one, other = Presenter(certificate, "main", "peer:1"), Presenter(certificate, "main", "peer:2")
    one.lines["x"] = "y"
    assert not other.lines
    assert not other.certificate_must_be_valid
    assert other.valid_until == float("inf")


def test_one_at_rest_keeps_no_token_and_all_that_is_not_secret() -> None:
    one = Presenter(None, "main", "peer:1")
    assert one.last_presented is None
    one.lines["x"] = "y"
    one.last_presented = LastPresented("Bearer a", AccessToken("a", b"key"), one)
    one.rest()
    kept: list[object] = [one.last_presented, one.lines]
    assert kept == [None, {"x": "y"}]


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6:4711", "2001:db8:1:2::/64"),
        ("fe80::1%eth0:4711", "fe80::/64"),
        ("", ""),
        ("not:an:address:1", "not:an:address"),
    ],
)
def test_one_without_a_vouched_certificate_is_counted_by_address(peer: str, source: str, pki: Pki) -> None:
    assert Presenter(None, "main", peer).source == source
    # Such a certificate costs its maker nothing, so it is no source of its own.
    assert Presenter(pki.client.presented, "main", peer).source == source


def test_one_whose_certificate_an_authority_vouched_for_is_counted_by_it(pki: Pki) -> None:
    certificate = pki.client.presented
    presenter = Presenter(certificate, "main", "192.0.2.1:1", certificate_must_be_valid=True)
    assert presenter.source == certificate.thumbprint_text
    nobody = Presenter(None, "main", "192.0.2.1:1", certificate_must_be_valid=True)
    assert nobody.source == "192.0.2.1"


def test_names_of_a_query_are_worked_out_once() -> None:
    head = RequestHead("GET", "/a?%61&b", "/a", "%61&b", "api.test")
    assert head.query_names == {"a", "b"}
    assert head.query_names is head.query_names
    assert RequestHead("GET", "/a?B", "/a", "B", "api.test").folded_query_names == {"b"}
    assert head.folded_query_names is head.folded_query_names


def test_query_of_too_many_names_is_refused() -> None:
    query = "&".join(f"%61{number}" for number in range(65))
    with pytest.raises(Denied) as caught:
        assert RequestHead("GET", f"/a?{query}", "/a", query, "api.test").query_names
    assert (caught.value.reason, caught.value.failure.check) == (Reason.TARGET_TOO_LONG, "query")
