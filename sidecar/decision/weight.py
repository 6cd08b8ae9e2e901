"""What decoded JSON takes in memory: not what it took on the wire, of which it may be many times as much."""

from sys import getsizeof


def weight(value: object) -> int:
    """Bytes of a decoded JSON value, or of strings in a tuple or a set, with all that it holds; from above, since equal
    strings may be one.
    """
    total, pending = 0, [value]
    while pending:
        one = pending.pop()
        total += getsizeof(one)
        if isinstance(one, dict):
            pending += one.keys()
            pending += one.values()
        elif isinstance(one, (list, tuple, frozenset)):
            pending += one
    return total
