"""Durations, sizes, days and addresses."""

import pytest

from sidecar.settings.scalars import parse_address, parse_date, parse_duration, parse_network, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("2s", 2), ("0s", 0), ("5m", 300), ("1h", 3600), ("1.5h", 5400), ("7d", 604800)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (75, "a duration needs a unit: 75s? (ms, s, m, h, d)"),
        (1.5, "a duration needs a unit: 1.5s? (ms, s, m, h, d)"),
        (True, "a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d"),
        ("75", "a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d"),
        ("-5s", "a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d"),
        ("5 s", "a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d"),
        ("5s\n", "a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d"),
        ("5y", "a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d"),
        ("٥s", "a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d"),
        (None, "a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d"),
        ("99999d", "a duration of more than ten years"),
    ],
)
def test_anything_else_is_no_duration(value: object, message: str) -> None:
    with pytest.raises(ValueError, match="duration") as caught:
        parse_duration(value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 0), (512, 512), ("512B", 512), ("32KiB", 32768), ("10MiB", 10 << 20), ("1GiB", 1 << 30)],
)
def test_a_size_is_bytes_or_has_a_unit(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value", [-1, True, 1.5, "32", "32kb", "32KB", "-1B", "9999999999GiB", None, [], "1B\n", f"{'9' * 5000}B"]
)
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(value)


def test_a_day_begins_at_midnight_in_utc() -> None:
    assert parse_date("1970-01-02") == 86400


@pytest.mark.parametrize(
    "value", ["2027-13-01", "2027-02-30", "27-01-31", "31.01.2027", 20270131, None, "2027-01-31\n"]
)
def test_anything_else_is_no_day(value: object) -> None:
    with pytest.raises(ValueError, match=r"2027|calendar"):
        parse_date(value)


@pytest.mark.parametrize(
    ("text", "address"),
    [("0.0.0.0:8443", ("0.0.0.0", 8443)), ("[::1]:0", ("::1", 0)), ("localhost:80", ("localhost", 80))],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "value", ["8443", ":8443", "::1:80", "host", "host:99999", "host:80\n", "a b:80", 8443, None]
)
def test_anything_else_is_no_address(value: object) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        parse_address(value)


def test_a_network_has_no_host_bits() -> None:
    assert str(parse_network("10.0.0.0/8")) == "10.0.0.0/8"
    with pytest.raises(ValueError, match="has host bits set"):
        parse_network("10.1.0.0/8")
    with pytest.raises(ValueError, match="written"):
        parse_network(10)
