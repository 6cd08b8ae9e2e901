"""Keys and certificates of the demo, generated at its start and not trusted elsewhere."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecar.trust.certification import Identity, Subject, Use, server_name, write_identity

_LIFETIME = timedelta(days=1)
_NAMES = (server_name("localhost"), server_name("127.0.0.1"))


def make_identity(
    folder: Path, name: str, authority: Identity | None = None, *, is_authority: bool = False
) -> Identity:
    """Make and write `name.crt` and `name.key`; self-signed without `authority`."""
    now = datetime.now(UTC)
    subject = Subject(
        name,
        Use.AUTHORITY if is_authority else Use.BOTH,
        now - timedelta(minutes=5),
        now + _LIFETIME,
        () if is_authority else _NAMES,
    )
    return write_identity(folder, name, subject, authority)
