"""Header names by which a proxy tells the API behind it the client's identity or the original request.

An API that was once behind such a proxy trusts them from any sender. They are therefore not forwarded from clients:
only peers that are listed as proxies may send them. The names are those in the documentation of the proxies.
"""

from collections.abc import Iterable
from typing import Final

_NAMES: Final = frozenset({
    # The client certificate: Azure App Service, nginx and HAProxy examples, Traefik, AWS, Google Cloud, F5, Envoy
    "x-arr-clientcert", "x-client-cert", "x-client-certificate", "x-client-dn", "x-client-subject", "x-client-verify",
    "x-ssl-cert", "x-ssl-client", "x-ssl-issuer", "x-ssl-subject", "ssl-cert", "x-tls-client-cert",
    # The user: RFC 3875 §4.1.11, oauth2-proxy, Authelia, Grafana, Kong and APISIX, Google IAP, Cloudflare Access
    "remote-user", "remote-groups", "remote-name", "remote-email", "x-remote-user", "x-remote-group", "x-remote-groups",
    "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
    "x-forwarded-access-token", "x-forwarded-roles", "x-webauth-user", "x-authenticated-user", "x-authenticated-groups",
    "x-authenticated-userid", "x-authenticated-scope", "x-userinfo", "x-goog-iap-jwt-assertion",
    "cf-access-authenticated-user-email", "cf-access-jwt-assertion", "x-anonymous-consumer",
    # The target: IIS, Symfony and Zend
    "x-rewrite-url",
})  # fmt: skip

_PREFIXES: Final = (
    "x-ssl-client-", "ssl-client-", "x-client-cert-", "x-client-certificate-", "x-amzn-mtls-clientcert",
    "x-forwarded-tls-client-cert", "x-original-", "x-remote-extra-", "x-auth-request-", "x-goog-authenticated-user-",
    "x-ms-client-principal", "x-ms-token-", "x-amzn-oidc-", "x-consumer-", "x-credential-", "tailscale-user-",
)  # fmt: skip

METHOD_OVERRIDES: Final = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
"""An API that supports one of these treats a POST as the method that it names."""


class ClaimedIdentity:
    """The names for one configuration."""

    def __init__(self, strip: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        """`strip` adds names; `keep` lists names that every client may send. Both ignore case."""
        self._keep = frozenset(name.lower() for name in keep)
        self._names = _NAMES.union(name.lower() for name in strip) - self._keep

    def claims(self, name: str) -> bool:
        """Whether only a proxy may send a header of this name (lower case)."""
        return name in self._names or (name.startswith(_PREFIXES) and name not in self._keep)

    def overrides_method(self, name: str) -> bool:
        """Whether the header asks the API to use another method."""
        return name in METHOD_OVERRIDES and name not in self._keep


def is_known(name: str) -> bool:
    """Whether a header has special treatment, so that `insecure_keep_headers` has an effect on it."""
    known = ClaimedIdentity()
    return known.claims(name.lower()) or known.overrides_method(name.lower())
