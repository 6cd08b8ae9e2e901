"""TLS contexts for connections to servers: the upstream, an issuer, a forward proxy.

Theory of operation. Every flag is set here explicitly and none is inherited, because `ssl.create_default_context`
differs between versions of Python. Python 3.13 made it refuse authorities without an Authority Key Identifier or
keyUsage, which `openssl req -x509` made for decades, and accept an intermediate authority as an anchor. It also
writes session keys to a file that the environment names.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServerTrust:
    """Which servers are trusted, and our own identity."""

    ca_file: Path | None = None
    """PEM: each certificate is an anchor, whether or not it is a root; None: the system's authorities."""
    certificate_file: Path | None = None
    """PEM: our own certificate, then its chain."""
    private_key_file: Path | None = None
    strict: bool = False
    """Refuse certificates without what RFC 5280 §4.2 demands (X509_V_FLAG_X509_STRICT), and a server name that is
    only in the common name (RFC 9525 §6.3).
    """


def trying_context() -> ssl.SSLContext:
    """A context for a trial handshake within this process: nothing is verified, and nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def client_context(trust: ServerTrust, protocols: Sequence[str] = ()) -> ssl.SSLContext:
    """TLS 1.2 or later; the server's name and chain are verified. `protocols` are offered by ALPN (RFC 7301).

    Raises `OSError` (including `ssl.SSLError`) for unusable files. Blocks.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = not trust.strict
    if trust.strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    if trust.ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(trust.ca_file)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if trust.certificate_file is not None:
        context.load_cert_chain(trust.certificate_file, trust.private_key_file)
    return context
