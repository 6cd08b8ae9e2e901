"""What an authorization server hears in place of a certificate that it cannot read: a secret or an assertion of the
client's, which the sidecar holds (RFC 6749 §2.3.1, RFC 7523 §2.2). Pure.

The client's own bytes stay as they came, and additions follow them. `Authorization` replaces the client's, because the
server would choose one of two.
"""

from typing import Final
from urllib.parse import urlencode

from sidecar.issuer.client_authentication import Credentials

_CLIENT_ID: Final = "client_id"


def translated(body: bytes, credentials: Credentials) -> tuple[bytes, bytes]:
    """The form with the credentials in it, and field lines.

    The `client_id` is in the form already: RFC 8705 §2 requires it of every client that shows a certificate.
    """
    added = {name: value for name, value in credentials.form.items() if name != _CLIENT_ID}
    lines = b"".join(
        b"%b: %b\r\n" % (name.encode("ascii"), value.encode("ascii"))
        for name, value in credentials.headers.items()
    )
    if not added:
        return body, lines
    return b"&".join(part for part in (body.rstrip(b"&"), urlencode(added).encode("ascii")) if part), lines
