"""Any certificate: mutated DER through handshake, decision, record, admin page, `explain` and `thumbprint`.

Whatever OpenSSL makes of it, there is a decision and one record, or a refused handshake, and never another exception.
"""

import contextlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL, crypto

from sidecar.command.cli import main
from sidecar.decision.certificate_condition import (
    CertificateLasts,
    CertificateName,
    CertificateNameIsClaim,
    NameField,
    NamePattern,
)
from sidecar.decision.denial import Denial
from sidecar.decision.diagnosis import diagnose_thumbprint
from sidecar.decision.request import Presenter
from sidecar.process.endpoints.admin.decisions import described
from sidecar.proxy.certificates import UnusableCertificate, certificates
from sidecar.proxy.tls import ServerTls, TlsFailure
from tests.support.live_server import tls_settings
from tests.support.mint import SigningKey
from tests.support.odd_certificates import ALL, OddCertificate, pem
from tests.support.pki import Pki
from tests.support.records import RecordedTelemetry, record
from tests.support.world import Keys, authorizer, decide, head, policy, rule

SEEDS = [OddCertificate().der, *(odd.der for odd in ALL.values())]
CONDITIONS = (
    *(CertificateName(field, (NamePattern("**", field),)) for field in NameField),
    *(CertificateNameIsClaim(field, ("client_id",)) for field in NameField),
    CertificateLasts(60),
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """One of the seeds with a few bytes replaced, removed or added."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data) - 1))
        size = draw(st.integers(0, 2))
        data[start : start + size] = draw(
            st.binary(min_size=size, max_size=size if draw(st.booleans()) else 2)
        )
    return bytes(data)


class World:
    """A listener's TLS, an authorizer with conditions on every name, and telemetry whose lines can be read back."""

    def __init__(self, folder: Path, pki: Pki, key: SigningKey) -> None:
        self.folder = folder
        self.tls = ServerTls(tls_settings(folder, pki), "main")
        self.telemetry = RecordedTelemetry(folder)
        self.authorizer = authorizer(policy(rule(conditions=CONDITIONS)), Keys.of(key))
        self.key_file = OddCertificate().write(folder, "odd").private_key
        self.handshakes = 0

    def handshake(self, der: bytes) -> Presenter | None:
        """Who the listener sees; None when either side's OpenSSL refuses."""
        (self.folder / "mutated.der").write_bytes(der)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        try:
            context.use_certificate_file(str(self.folder / "mutated.der"), crypto.FILETYPE_ASN1)
            context.use_privatekey_file(str(self.key_file))
        except SSL.Error:
            return None
        client, engine = SSL.Connection(context, None), self.tls.engine()
        client.set_connect_state()
        with contextlib.suppress(TlsFailure):
            for _ in range(4):
                with contextlib.suppress(SSL.WantReadError, SSL.Error):
                    client.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    engine.receive(client.bio_read(1 << 20))
                if answer := engine.outgoing():
                    client.bio_write(answer)
        if not engine.established:
            return None
        self.handshakes += 1
        return Presenter(engine.client_certificate(), "main", "192.0.2.1:1")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, pki: Pki, signing_key: SigningKey) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("any"), pki, signing_key)
    yield made
    made.telemetry.sink.close()


def test_any_certificate_comes_to_one_record_or_to_a_refused_handshake(
    world: World, signing_key: SigningKey, pki: Pki
) -> None:
    seen = 0

    @settings(max_examples=400)
    @given(mutations())
    def each(der: bytes) -> None:
        nonlocal seen
        commands(world, der)
        presenter = world.handshake(der)
        if presenter is None:
            return
        certificate = presenter.client_certificate
        assert certificate is not None
        for bound_to in (certificate.thumbprint_text, pki.server.thumbprint):
            decision = decide(world.authorizer, head(signing_key.token(bound_to)), presenter)
            assert isinstance(decision, Denial)
            world.telemetry.telemetry.observe(record(decision, presenter=presenter))
            seen += 1
        for diagnosis in (
            diagnose_thumbprint("A" * 43, certificate, [pki.server.presented]),
            diagnose_thumbprint("A" * 43, pki.server.presented, [certificate]),
        ):
            assert diagnosis.mistake == "unknown"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        each()
    shown = described(world.telemetry.telemetry.live.since())
    assert shown
    assert not any("incomplete" in one for one in shown)
    assert world.handshakes > 50
    lines = [json.loads(line) for line in world.telemetry.text().splitlines()]
    assert len(lines) == seen == 2 * world.handshakes
    assert not any("incomplete" in line for line in lines)


def commands(world: World, der: bytes) -> None:
    """`thumbprint` says it or why not, in one line; so does whoever reads a PEM file."""
    file = world.folder / "any.crt"
    for content in (der, pem(der)):
        file.write_bytes(content)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["thumbprint", str(file)])
        assert (code, len(err.getvalue().splitlines())) in {(0, 0), (1, 1)}
    with contextlib.suppress(UnusableCertificate):
        for certificate in certificates(pem(der), pem_only=True):
            assert certificate.called
            assert certificate.serial_number
            assert str(certificate.issuer).isprintable()
