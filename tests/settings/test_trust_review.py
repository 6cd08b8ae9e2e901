"""What `check` says of revocation lists: near their end, past it, without one, or of too few authorities."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.process.watches.certificates import certificates_in_use, samples
from sidecar.proxy.tls.sessions import element
from tests.support.configuration import SERVICE, Configuration
from tests.support.pki import HOUR, Authority, Pki, utc_now

pytestmark = pytest.mark.field_cases


def write(configuration: Configuration, authorities: list[Authority], crl: bytes, more: str = "") -> None:
    (configuration.folder / "ca.crt").write_bytes(b"".join(one.pem for one in authorities))
    (configuration.folder / "ca.crl").write_bytes(crl)
    section = f"    client_certificate: {{trust: ca, ca_file: ca.crt, crl_file: ca.crl{more}}}\nupstream"
    configuration.write_service(SERVICE.replace("upstream", section, 1))


def warnings(configuration: Configuration) -> list[str]:
    """What is said of the list, without the folder."""
    found = [one.message for one in configuration.load(now=utc_now().timestamp()).warnings]
    return [one.replace(f"{configuration.folder}/", "") for one in found if "ca.crl" in one]


@pytest.mark.parametrize(
    ("hours", "said"),
    [(200, None), (20, "expires"), (-1, "expired")],
    ids=["fresh", "near its end", "past it"],
)
def test_list_is_warned_about_as_certificates_are(
    configuration: Configuration, pki: Pki, hours: int, said: str | None
) -> None:
    authority, end = pki.client_authority, utc_now() + hours * HOUR
    write(
        configuration,
        [authority],
        authority.revocation_list(not_after=end, not_before=utc_now() - 200 * HOUR),
    )
    expected = f"`ca.crl` {said} on {end.date()}: after that, all clients that it covers are refused"
    assert warnings(configuration) == ([expected] if said else [])


def test_of_several_lists_the_first_to_end_is_told_and_measured(
    configuration: Configuration, pki: Pki
) -> None:
    other, authority = Authority.root("other"), pki.client_authority
    begin, end = utc_now() - 2 * HOUR, utc_now() - HOUR
    lists = authority.revocation_list(not_before=begin) + other.revocation_list(
        not_after=end, not_before=begin
    )
    write(configuration, [authority, other], lists)
    assert len(warnings(configuration)) == 1
    measured = {
        one.name: one.value
        for one in samples(certificates_in_use(configuration.load().proxy))
        if "crl" in one.name
    }
    assert measured == {
        "sidecar_crl_next_update_seconds": end.timestamp(),
        "sidecar_crl_this_update_seconds": begin.timestamp(),
    }


def test_authority_without_a_list_is_named(configuration: Configuration, pki: Pki) -> None:
    crl = pki.client_authority.revocation_list(not_after=utc_now() + dt.timedelta(days=9))
    write(configuration, [pki.client_authority, Authority.root("Other")], crl)
    begin = "`ca.crl` holds no list of `CN=Other`: a client that it certified itself is refused, an authority"
    assert warnings(configuration) == [f"{begin} that it certified is not checked for revocation"]
    write(configuration, [pki.client_authority, Authority.root("Other")], crl, ", crl_required_for: chain")
    assert warnings(configuration) == [f"{begin} that it certified too"]


def test_list_without_an_end_is_warned_about_and_not_measured(configuration: Configuration, pki: Pki) -> None:
    write(configuration, [pki.client_authority], endless(pki.client_authority))
    (said,) = warnings(configuration)
    assert "nextUpdate" in said
    assert not [one for one in certificates_in_use(configuration.load().proxy) if one.is_list]


def endless(authority: Authority) -> bytes:
    """A list without nextUpdate. The library makes none, so the field is cut out of one, and it is signed again."""
    crl = x509.load_pem_x509_crl(authority.revocation_list())
    signed = crl.tbs_certlist_bytes
    _, at, end = element(signed, 0)
    parts = []
    while at < end:
        tag, _, after = element(signed, at)
        parts.append((tag, signed[at:after]))
        at = after
    times = [index for index, (tag, _) in enumerate(parts) if tag in {0x17, 0x18}]
    body = sequence(*(content for index, (_, content) in enumerate(parts) if index != times[1]))
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    signature = authority.key.sign(body, ec.ECDSA(SHA256()))
    algorithm = next(content for tag, content in parts if tag == 0x30)
    return sequence(body, algorithm, b"\x03" + length(len(signature) + 1) + b"\0" + signature)


def sequence(*contents: bytes) -> bytes:
    content = b"".join(contents)
    return b"\x30" + length(len(content)) + content


def length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    return b"\x81" + bytes((size,)) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")


def test_list_in_der_is_good_for_check(configuration: Configuration, pki: Pki) -> None:
    authority = pki.client_authority
    pem = authority.revocation_list(not_after=utc_now() + dt.timedelta(days=9))
    write(configuration, [authority], x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER))
    assert warnings(configuration) == []


def test_crl_required_for_needs_a_list(configuration: Configuration, pki: Pki, tmp_path: Path) -> None:
    (configuration.folder / "ca.crt").write_bytes(pki.client_authority.pem)
    section = "    client_certificate: {trust: ca, ca_file: ca.crt, crl_required_for: chain}\nupstream"
    configuration.write_service(SERVICE.replace("upstream", section, 1))
    (problem,) = configuration.problems()
    assert problem.message == "`crl_required_for` has no effect without a `crl_file`"
