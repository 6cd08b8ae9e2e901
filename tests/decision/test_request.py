from sidecar.decision.client_certificate import ClientCertificate
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
    certificate = ClientCertificate(pki.client.der)
    one, other = Presenter(certificate, "main", "peer:1"), Presenter(certificate, "main", "peer:2")
    one.lines["x"] = "y"
    assert not other.lines
    assert not other.certificate_must_be_valid
