"""The file with the keys of DPoP nonces."""

from pathlib import Path

from sidecar.decision.nonce import Nonces


def nonces_in(path: Path) -> Nonces:
    """Makes and knows nonces under the keys in a file; raises `OSError` and `ValueError`, without a key in either."""
    lines = path.read_bytes().split()
    if not 1 <= len(lines) <= 2:
        raise ValueError("expected one or two keys, each on its own line")
    return Nonces(*lines)
