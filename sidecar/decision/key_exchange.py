"""Groups of key exchange (RFC 8446 §4.2.7) by the names that settings, records and metrics use."""

from typing import Final, Literal, get_args

__all__ = ["GROUPS", "NONE", "OTHER", "Group", "group_label", "group_named"]

Group = Literal[
    "X25519MLKEM768",
    "SecP256r1MLKEM768",
    "SecP384r1MLKEM1024",
    "X25519",
    "X448",
    "P-256",
    "P-384",
    "P-521",
]
"""The groups that a listener may be told to use; OpenSSL takes the same names."""

GROUPS: Final[frozenset[str]] = frozenset(get_args(Group))
OTHER: Final = "other"
"""Label of a group that has no name here."""
NONE: Final = "none"
"""Label of a handshake whose group OpenSSL does not tell."""

_BY_OPENSSL: Final = {name.lower(): name for name in GROUPS} | {
    "secp256r1": "P-256",
    "prime256v1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}


def group_named(name: str) -> str:
    """The name used here for what OpenSSL calls a group; of another group, OpenSSL's own."""
    return _BY_OPENSSL.get(name.lower(), name)


def group_label(group: str) -> str:
    """One of a closed list, whatever was negotiated."""
    if not group:
        return NONE
    return group if group in GROUPS else OTHER
