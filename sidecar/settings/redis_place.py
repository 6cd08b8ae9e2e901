"""The address of a server of the Redis protocol, from a URL."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """The server's address, and the sidecar's user and password there."""

    host: str
    port: int
    database: int
    is_tls: bool
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "RedisPlace":
        """`redis://[user:password@]host[:port][/database]`, `rediss://` with TLS. Raises `ValueError`, and never
        repeats the URL, which holds a password.
        """
        parts = urlsplit(url.strip())
        database = parts.path.lstrip("/") or "0"
        try:
            port = 6379 if parts.port is None else parts.port
        except ValueError:
            port = 0
        if (
            parts.scheme not in {"redis", "rediss"}
            or not parts.hostname
            or not port
            or not database.isdigit()
        ):
            raise ValueError(
                "is not a URL of the form redis://user:password@host:port/0, or rediss:// with TLS"
            )
        username, password = (unquote(one) if one else None for one in (parts.username, parts.password))
        return cls(parts.hostname, port, int(database), parts.scheme == "rediss", username, password)
