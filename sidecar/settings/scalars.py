"""The small types that settings are made of: durations, sizes, dates, addresses, names."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sidecar.settings.problem import shown

DURATION_PATTERN: Final = r"^[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d)$"
SIZE_PATTERN: Final = r"^[0-9]+(?:B|KiB|MiB|GiB)$"
DATE_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
ADDRESS_PATTERN: Final = r"^(?:[^:\[\]\s/]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$"

UNIX_PATTERN: Final = r"^unix://(/[^/\s\x00]+){1,20}$"
_LONGEST_SOCKET: Final = len("unix://") + 107
"""Bytes: sun_path of unix(7) has room for so many."""

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_LONGEST: Final = 10 * 365 * 86400.0
_LARGEST: Final = 1024**4


def parse_duration(value: Any) -> float:
    """Seconds; raises `ValueError`."""
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"a duration needs a unit: {value}s? (ms, s, m, h, d)")
        raise ValueError("a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d")
    number, unit = re.fullmatch(r"([0-9.]+)([a-z]+)", value).groups()  # type: ignore[union-attr]  # matched above
    seconds = float(number) * _SECONDS[unit]
    if seconds > _LONGEST:
        raise ValueError("a duration of more than ten years")
    return seconds


def parse_size(value: Any) -> int:
    """Bytes; raises `ValueError`. A bare number is bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        size = value
    elif isinstance(value, str) and re.fullmatch(SIZE_PATTERN, value):
        number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]+)", value).groups()  # type: ignore[union-attr]  # matched
        size = int(number[:20]) * _BYTES[unit]
    else:
        raise ValueError("a size is a number of bytes or has a unit: 512B, 32KiB, 10MiB, 1GiB")
    if size > _LARGEST:
        raise ValueError("a size of more than 1024 GiB")
    return size


def parse_date(value: Any) -> int:
    """The first second of that day in UTC, since the epoch; raises `ValueError`."""
    if not isinstance(value, str) or not re.fullmatch(DATE_PATTERN, value):
        raise ValueError("a date is written 2027-01-31")
    try:
        return int(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ValueError(f"{value} is not a date of the calendar") from None


def parse_address(value: Any) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`; host `*` for every address of every family. Raises `ValueError`."""
    if not isinstance(value, str) or not re.fullmatch(ADDRESS_PATTERN, value):
        raise ValueError("an address is written 0.0.0.0:8443, [::]:8443 or *:8443 (all of IPv4 and IPv6)")
    host, _, port = value.rpartition(":")
    if int(port) > 65535:
        raise ValueError(f"{port} is not a port")
    if host == "*" and int(port) == 0:
        raise ValueError("*:0 could be two different ports of IPv4 and IPv6: give a port")
    return host.strip("[]"), int(port)


def parse_listen_address(value: Any) -> tuple[str, int]:
    """As `parse_address`; a Unix socket is its URL and port 0. Raises `ValueError`."""
    if not isinstance(value, str) or not value.startswith("unix:"):
        return parse_address(value)
    if len(value.encode()) > _LONGEST_SOCKET or not re.fullmatch(UNIX_PATTERN, value):
        raise ValueError("a Unix socket is written unix:///run/sidecar.sock, its path at most 107 bytes")
    return value, 0


def is_unix(address: tuple[str, int]) -> bool:
    """Whether an address that is listened on is a Unix socket."""
    return address[0].startswith("unix:")


def parse_network(value: Any) -> IPv4Network | IPv6Network:
    """An address range; raises `ValueError`."""
    if not isinstance(value, str):
        raise ValueError("an address range is written 10.0.0.0/8")  # noqa: TRY004 — pydantic collects ValueError
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"not an address range: {error}") from None


def as_list(value: Any) -> Any:
    """One text is a list of one."""
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Form:
    """Annotates text of a fixed form: a pattern for the schema, words for error messages."""

    pattern: str
    words: str
    """Completes "`x` is not …"."""
    longest: int = 256
    """In characters."""

    def check(self, value: str) -> str:
        """The value; raises `ValueError`."""
        if len(value) > self.longest or not re.fullmatch(self.pattern, value):
            raise ValueError(f"{shown(value)} is not {self.words}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The check, after whatever makes it text."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The pattern."""
        return {**handler(schema), "pattern": self.pattern, "maxLength": self.longest}


Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Texts = Annotated[list[Text], BeforeValidator(as_list, json_schema_input_type=Text | list[Text])]
"""One text or several."""
Duration = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
]
"""Seconds."""
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SIZE_PATTERN}]}
    ),
]
"""Bytes."""
Day = Annotated[int, BeforeValidator(parse_date), WithJsonSchema({"type": "string", "pattern": DATE_PATTERN})]
"""The first second of a day, since the epoch."""
Address = Annotated[
    tuple[str, int],
    BeforeValidator(parse_address),
    WithJsonSchema({"type": "string", "pattern": ADDRESS_PATTERN}),
]
"""Host and port."""
ListenAddress = Annotated[
    tuple[str, int],
    BeforeValidator(parse_listen_address),
    WithJsonSchema({"type": "string", "pattern": f"{ADDRESS_PATTERN}|{UNIX_PATTERN}"}),
]
"""Host and port, or the URL of a Unix socket and 0."""
Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(parse_network), WithJsonSchema({"type": "string"})
]
ForwardingPeer = Annotated[
    IPv4Network | IPv6Network | Literal["unix"],
    BeforeValidator(lambda value: value if value == "unix" else parse_network(value)),
    WithJsonSchema({"type": "string"}),
]
"""An address range, or `unix` for whoever is at the other end of a Unix socket."""
HeaderName = Annotated[
    str, Form(r"^[A-Za-z][A-Za-z0-9-]*$", "a header name of letters, digits and hyphens", 64)
]
"""A field name that survives CGI mapping unharmed (RFC 9110 §5.1, RFC 3875 §4.1.18)."""
