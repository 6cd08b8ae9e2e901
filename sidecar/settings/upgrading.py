"""What a new version does differently from an earlier one, for one configuration (`sidecar check --upgrading-from`).

A change is here when a configuration that served well under the earlier version could serve otherwise under this one
without a word of it having changed. `docs/upgrading.md` says the same in more words; a test holds the two together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.decision.condition import BoundBy
from sidecar.decision.policy import Binding, IntrospectWhen
from sidecar.settings.configuration import Loaded


@dataclass(frozen=True, slots=True)
class Change:
    """One change, and the configurations that it concerns."""

    name: str
    """The anchor of its section in `docs/upgrading.md`."""
    concerns: Callable[[Loaded], bool]
    text: str
    """One sentence: what changed, and how to keep the earlier behaviour if that is possible."""


def changes(loaded: Loaded, since: str) -> tuple[Change, ...]:
    """The changes since version `since` that concern this configuration. Raises `KeyError` for another version."""
    return tuple(change for change in CHANGES[since] if change.concerns(loaded))


def _always(_: Loaded) -> bool:
    return True


def _believes_nobody(loaded: Loaded) -> bool:
    return any(
        not (listener.forwarded_from or listener.believes_socket) for listener in loaded.proxy.listeners
    )


def _has_lists(loaded: Loaded) -> bool:
    return any(listener.clients.crl_file is not None for listener in loaded.proxy.listeners)


def _shares_token(loaded: Loaded) -> bool:
    admin = loaded.service.admin
    return admin is not None and not admin.path


def _always_introspects(loaded: Loaded) -> bool:
    return any(one.introspect is IntrospectWhen.ALWAYS for one in loaded.policy.issuers.values())


def _takes_proofs(loaded: Loaded) -> bool:
    """Whether some rule asks for a bound token, does not say by what, and has an issuer that also binds to keys."""
    policy = loaded.policy
    return any(
        "DPoP" in issuer.confirmable.schemes and (rule.binding or issuer.binding) is Binding.REQUIRED
        for rule in policy.rules
        if not rule.public and not any(isinstance(one, BoundBy) for one in rule.conditions)
        for name, issuer in policy.issuers.items()
        if rule.issuers is None or name in rule.issuers
    )


def _names_methods(loaded: Loaded) -> bool:
    return loaded.proxy.refuse_method_overrides


def _over_tls(loaded: Loaded) -> bool:
    return loaded.proxy.upstream.scheme == "https"


def _resumes(loaded: Loaded) -> bool:
    return any(
        listener.tls is not None and listener.tls.session_lifetime for listener in loaded.proxy.listeners
    )


CHANGES: Final[dict[str, tuple[Change, ...]]] = {
    "0.1": (
        Change(
            "claimed-identity",
            _believes_nobody,
            "headers that claim an identity (X-Forwarded-User, X-SSL-Client-*, Remote-User and similar ones) are"
            " removed from requests; list the proxies that may send them in `forwarded_from`, or keep one with"
            " `insecure_keep_headers`",
        ),
        Change(
            "method-override",
            _names_methods,
            "a request with X-HTTP-Method-Override or a similar header gets 400, because rules name methods",
        ),
        Change(
            "host",
            _always,
            "a Host that is not a host name with an optional port (for example a list with commas) gets 400",
        ),
        Change(
            "redirects",
            _always,
            "a Location with the API's own address is changed to the address that the client used;"
            " `upstream.redirects: pass` leaves it unchanged",
        ),
        Change(
            "idle-upstream",
            _always,
            "pooled connections to the API are kept for 4 s, or as long as its Keep-Alive field says;"
            " `upstream.idle_timeout` keeps them longer",
        ),
        Change(
            "revocation",
            _has_lists,
            "every certificate of a client's chain is checked against the revocation lists, certificates under an"
            " outdated list are refused, and open connections close when a list revokes them;"
            " `close_on_ca_change: false` leaves those open",
        ),
        Change(
            "session-lifetime",
            _resumes,
            "`session_lifetime` is measured from the full handshake: clients that resume repeatedly do a full one"
            " when it is over",
        ),
        Change(
            "admin-token",
            _shares_token,
            "the admin page and its API require a token that is new at each start: `sidecar admin-url` prints the link",
        ),
        Change(
            "introspection-answer",
            _always_introspects,
            "with `introspection: {when: always}` the answer counts: only scopes in both count, both audiences must"
            " fit, the earlier expiry time counts, another subject or client is refused",
        ),
        Change(
            "writable-files",
            _always,
            "a service or policy file that everyone may write is refused;"
            " `insecure_policy_writable_by_everyone` accepts it",
        ),
        Change(
            "upstream-trust",
            _over_tls,
            "the API's certificate is verified the same way on every Python; `strict_certificates` requires the"
            " extensions of RFC 5280",
        ),
        Change(
            "binding-by-key",
            _takes_proofs,
            "if the issuer's `schemes` have DPoP, `jkt` with a DPoP proof also satisfies `binding: required`;"
            ' `require: {confirmation: ["x5t#S256"]}` requires the certificate',
        ),
    ),
}
"""By the version from which one upgrades."""
