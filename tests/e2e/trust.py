"""A sidecar that trusts a running `oidc-provider`: its keys by discovery over TLS, its tokens by the default rules."""

from pathlib import Path

from tests.real.provider import OidcProvider
from tests.real.upstreams import Upstream
from tests.support.pki import certificate_pem
from tests.support.sidecar import Sidecar, issuer, policy

IDENTITY_HEADERS = {"X-Auth-Subject": "sub", "X-Auth-Client": "client_id", "X-Auth-Scope": "scope"}


def sidecar_trusting(provider: OidcProvider, folder: Path, upstream: Upstream, **changes: object) -> Sidecar:
    """Not yet started; `changes` are laid over the entry in `issuers`."""
    trusted = issuer(
        issuer=provider.issuer,
        keys={"discovery": True, "jwks_file": None, "cool_down": "100ms"},
        algorithms=["ES256", "PS256", "EdDSA"],
        http={"ca_file": "../tls/issuer-ca.crt"},
    )
    sidecar = Sidecar(
        folder,
        provider.pki,
        upstream.url,
        policy_document=policy(issuers=[{**trusted, **changes}]),
        service={"upstream": {"identity_headers": IDENTITY_HEADERS}},
    )
    authority = provider.pki.server_authority.certificate
    (folder / "tls" / "issuer-ca.crt").write_bytes(certificate_pem(authority))
    return sidecar
