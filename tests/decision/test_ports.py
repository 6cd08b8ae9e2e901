from sidecar.decision.ports import IssuerUnavailable


def test_outage_names_the_issuer_what_failed_and_when_to_come_again() -> None:
    outage = IssuerUnavailable("https://as.example.com", "dns")
    assert str(outage) == "https://as.example.com: dns"
    assert (outage.issuer, outage.phase, outage.retry_after) == ("https://as.example.com", "dns", 5)
