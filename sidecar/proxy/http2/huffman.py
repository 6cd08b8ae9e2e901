"""The Huffman code of string literals (RFC 7541 §5.2, Appendix B): decodes. Nothing is sent in it.

Theory of operation. The code is canonical: codes of one length follow each other in the order of their symbols, and
begin where those of the next shorter length end. So the lengths of Appendix B are the whole table. The decoder looks at
12 bits at once. A table tells which symbols these bits begin with, one or two as a rule, and how many bits they take.
Symbols with longer codes are rare in fields: they are looked for, length by length.

Behind the end of a string the decoder sees ones, as the padding has: they are the beginning of EOS. What is no padding
is then a symbol that takes bits behind the end, or a code that EOS alone begins with.
"""

from typing import Final

from sidecar.proxy.native import i64

_LENGTHS: Final = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
)  # fmt: skip
"""Bits of the code of each symbol (Appendix B); the last symbol is EOS."""
_EOS: Final = 256
_LONGEST: Final = 30
_WINDOW: Final = 12
_ALL: Final = 0xFFF
_UNREAD: Final = 0x3FFFFFFF
"""As many bits as may be left when more are added."""
_PADDING: Final = 7
"""The longest padding (§5.2)."""


class HpackError(Exception):
    """COMPRESSION_ERROR: the block cannot be decoded, and so no later one of the connection (RFC 9113 §4.3).

    The text is for the log. It holds nothing of a field.
    """


def _codes() -> list[int]:
    """The code of each symbol."""
    codes = [0] * len(_LENGTHS)
    code, before = 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - before
        codes[symbol], before = code, length
        code += 1
    return codes


CODES: Final = _codes()
_SHORT: Final = {
    (length, CODES[symbol]): symbol for symbol, length in enumerate(_LENGTHS) if length <= _WINDOW
}


def _begins(window: int) -> tuple[str, int]:
    """The symbols that are complete in a window, and the bits that they take."""
    symbols, used, length = [], 0, 1
    while used + length <= _WINDOW:
        code = window >> (_WINDOW - used - length) & ((1 << length) - 1)
        symbol = _SHORT.get((length, code))
        if symbol is None:
            length += 1
        else:
            symbols.append(symbol)
            used, length = used + length, 1
    return "".join(map(chr, symbols)), used


def _windows() -> tuple[list[str], bytes]:
    """`_begins` of every window; equal symbols are one object. Text in ISO 8859-1, for to join it is cheaper."""
    known: dict[str, str] = {}
    texts, used = [], bytearray()
    for window in range(1 << _WINDOW):
        symbols, bits = _begins(window)
        texts.append(known.setdefault(symbols, symbols))
        used.append(bits)
    return texts, bytes(used)


_FOUND: Final = _windows()
_TEXTS: Final = _FOUND[0]
_USED: Final = _FOUND[1]
_LONG: Final = [
    [chr(symbol) for symbol, one in enumerate(_LENGTHS) if one == length and symbol != _EOS]
    for length in range(_LONGEST + 1)
]
"""The symbols with codes of each length, in the order of the codes."""
_LOWEST: Final = [
    min((CODES[symbol] for symbol, one in enumerate(_LENGTHS) if one == length), default=1 << _LONGEST)
    for length in range(_LONGEST + 1)
]
"""The first code of each length; more than any code where there is none."""


def decode_huffman(data: bytes) -> bytes:
    """The string that is encoded in `data`. Raises `HpackError`."""
    texts: list[str] = []
    bits: i64 = 0
    have: i64 = 0  # how many bits at the end of `bits` have not been decoded
    at: i64 = 0
    end: i64 = len(data)
    while True:
        if have >= _WINDOW:
            window = bits >> (have - _WINDOW) & _ALL
            used: i64 = _USED[window]
            if used:
                texts.append(_TEXTS[window])
                have -= used
                continue
        if have < _LONGEST and at < end:
            if at + 4 <= end:
                # Only what has not been decoded is kept: 61 bits fit, and a long string takes no longer a byte.
                bits = (bits & _UNREAD) << 16 | i64(data[at]) << 8 | i64(data[at + 1])
                bits = bits << 16 | i64(data[at + 2]) << 8 | i64(data[at + 3])
                have += 32
                at += 4
            else:
                bits = (bits & _UNREAD) << 8 | data[at]
                have += 8
                at += 1
            continue
        bits -= bits >> have << have  # no mask: compiled, a 1 that is shifted has 32 bits
        if have <= _PADDING and bits == (1 << have) - 1:
            return "".join(texts).encode("latin-1")
        have -= _last(bits, have, texts) if have < _WINDOW else _long(bits, have, texts)


def _last(bits: i64, have: i64, texts: list[str]) -> i64:
    """Append the symbols at the end, where no window is full; the bits that they take."""
    missing: i64 = _WINDOW - have
    window = bits << missing | (1 << missing) - 1
    used: i64 = _USED[window]
    if not used or used > have:
        raise HpackError("padding of a Huffman string is too long, or not the beginning of EOS")
    texts.append(_TEXTS[window])
    return used


def _long(bits: i64, have: i64, texts: list[str]) -> i64:
    """Append the next symbol, whose code is longer than a window; the bits that it takes."""
    length: i64 = _WINDOW + 1
    while length <= have and length <= _LONGEST:
        after: i64 = (bits >> (have - length)) - _LOWEST[length]
        if after >= 0 and after < len(_LONG[length]):
            texts.append(_LONG[length][after])
            return length
        length += 1
    if have >= _LONGEST:
        raise HpackError("EOS in a Huffman string")
    raise HpackError("padding of a Huffman string is too long, or not the beginning of EOS")
