"""One hostile client of `bench.hostile`. `python -m bench.hostile_one ATTACK PORT`: goes on until it is ended."""

import sys
from contextlib import suppress

from bench import hostile_client, hostile_http2

ATTACKS = hostile_client.ATTACKS | hostile_http2.ATTACKS


def main(arguments: list[str]) -> None:
    """Begins again whenever the sidecar ends the connection."""
    while True:
        with suppress(OSError):
            ATTACKS[arguments[0]](int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
