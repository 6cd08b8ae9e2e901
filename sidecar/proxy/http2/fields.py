"""What an exchange hands over as lines → fields of HTTP/2 (RFC 9113 §8.2), for both directions. Pure."""

from sidecar.http.message import Field


def trailer_fields(lines: bytes) -> list[Field]:
    """Trailer fields, which an exchange hands over as lines."""
    pairs: list[Field] = []
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon:
            pairs.append((name.lower(), value.strip(b" \t")))
    return pairs
