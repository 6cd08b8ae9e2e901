"""base64url and JSON: a value or `Malformed`."""

from sidecar.decision.strict import Malformed, base64url, json_object, numeric_date

SEEDS = [b"{}", b'{"iss":"x","exp":1.5e3,"a":[{"b":null}]}', b"eyJ9", b'{"a":"\\ud83d\\ude00"}', b"[" * 100]


def target(data: bytes) -> None:
    """Everything that is decoded comes back the same when it is encoded again, or was refused."""
    try:
        decoded = json_object(data)
    except Malformed:
        decoded = {}
    for value in decoded.values():
        try:
            assert numeric_date(value) >= 0
        except Malformed:
            continue
    try:
        base64url(data.decode("latin-1"))
    except Malformed:
        return


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.fuzz.campaign import run

    run(__file__)
