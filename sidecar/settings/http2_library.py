"""Whether HTTP/2 can be spoken here, asked where it is configured."""

from sidecar.proxy.http2.engine import Http2Missing, load
from sidecar.settings.section import mistake


def require_http2(key: str) -> None:
    """Raises the mistake of a section in whose `key` stands `h2`, where the library for it is missing."""
    try:
        load()
    except Http2Missing:
        raise mistake(
            "`h2` needs the library ngh2, which is not installed here: pip install 'bound-token-sidecar[http2]'",
            key,
        ) from None
