"""Guesses what a refused value of a certificate field is, for the operator's message; never used to accept a value."""

import re
from typing import Final, NamedTuple


class Likeness(NamedTuple):
    """A guess."""

    format: str
    """Name of the format that it resembles; empty if none."""
    sentence: str
    """What it resembles, and the cure."""


_RULES: Final[tuple[tuple[re.Pattern[bytes], Likeness], ...]] = (
    (
        re.compile(rb"\s*-----BEGIN%20CERTIFICATE-----"),
        Likeness(
            "pem_urlencoded",
            "it looks like percent-encoded PEM, as nginx and AWS send: `format: pem_urlencoded`",
        ),
    ),
    (
        re.compile(rb"\s*-----BEGIN\+CERTIFICATE-----"),
        Likeness(
            "", "it looks like PEM in form encoding, with `+` for spaces: the proxy must percent-encode"
        ),
    ),
    (
        re.compile(rb"\s*-----BEGIN%2520CERTIFICATE-----"),
        Likeness("", "it looks percent-encoded twice"),
    ),
    (
        re.compile(rb"-----BEGIN CERTIFICATE----- "),
        Likeness("pem_one_line", "it looks like PEM in one line, as Apache sends: `format: pem_one_line`"),
    ),
    (
        re.compile(rb"-----BEGIN CERTIFICATE-----(?!\r?\n)"),
        Likeness("", "it looks like PEM without its line ends"),
    ),
    (
        re.compile(rb"(?i)[^=]*;?(?:by|hash|cert|chain|subject|uri|dns)="),
        Likeness("xfcc", "it looks like Envoy's x-forwarded-client-cert: `format: xfcc`"),
    ),
    (
        re.compile(rb":M[A-Za-z0-9+/]+={0,2}:"),
        Likeness("rfc9440", "it looks like RFC 9440: `format: rfc9440`"),
    ),
    (
        re.compile(rb"[0-9A-Fa-f]{40}\Z|(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}\Z"),
        Likeness("", "it looks like a hash alone: the proxy must send the certificate itself"),
    ),
    (
        re.compile(rb"MII[A-Za-z0-9+/]+={0,2},MII"),
        Likeness("", "it looks like several certificates with commas between, as Traefik sends a chain"),
    ),
    (
        re.compile(rb"MII[A-Za-z0-9+/]* [A-Za-z0-9+/= ]+\Z"),
        Likeness(
            "",
            "it looks like base64 in which `+` was decoded as a space, or PEM without its first and last line",
        ),
    ),
    (
        re.compile(rb"MII[A-Za-z0-9+/]+={0,2}\Z"),
        Likeness(
            "der_base64", "it looks like base64 alone, as HAProxy and Traefik send: `format: der_base64`"
        ),
    ),
)


def likeness(value: bytes) -> Likeness | None:
    """The first guess that fits; None if there is none."""
    return next((like for pattern, like in _RULES if pattern.match(value)), None)
