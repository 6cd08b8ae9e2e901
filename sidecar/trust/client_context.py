"""TLS towards servers: the upstream, an issuer, a forward proxy.

Theory of operation. Every flag is set here by name, none is inherited: `ssl.create_default_context` means something
else in each version of Python (3.13 made it refuse authorities without an Authority Key Identifier or keyUsage, as
`openssl req -x509` made them for decades, and take an intermediate authority as an anchor), and it writes session keys
to wherever the environment says.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServerTrust:
    """Which servers are trusted, and who we are to them."""

    ca_file: Path | None = None
    """PEM: each certificate of it is an anchor, whether or not it is a root; None: the system's authorities."""
    certificate_file: Path | None = None
    """PEM: our own certificate, then its chain."""
    private_key_file: Path | None = None
    strict: bool = False
    """Refuse certificates that leave out what RFC 5280 §4.2 demands (X509_V_FLAG_X509_STRICT), and a server's name that
    is only its common name (RFC 9525 §6.3)."""


def trying_context() -> ssl.SSLContext:
    """For a handshake with ourselves, to see whether one can be made: nothing is verified, and nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def client_context(trust: ServerTrust, protocols: Sequence[str] = ()) -> ssl.SSLContext:
    """TLS 1.2 or later; name and chain of the server are verified. `protocols` are offered by ALPN (RFC 7301).

    Raises `OSError` (`ssl.SSLError` is one) for files that cannot be used. Blocks.
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
