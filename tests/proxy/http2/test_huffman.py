"""The Huffman code of field strings (RFC 7541 §5.2, Appendix B)."""

import random

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from sidecar.proxy.http2.huffman import CODES, HpackError, decode_huffman

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def bits(text: str) -> bytes:
    """Bits in the order of the wire; spaces are for the reader."""
    digits = text.replace(" ", "")
    assert not len(digits) % 8
    return int(digits, 2).to_bytes(len(digits) // 8)


def test_codes_are_those_of_the_appendix() -> None:
    assert CODES == REQUEST_CODES
    # RFC 7541 Appendix B, lines 48, 97, 0, 255, 256.
    assert [CODES[at] for at in (48, 97, 0, 255, 256)] == [0x0, 0x3, 0x1FF8, 0x3FFFFEE, 0x3FFFFFFF]


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [  # RFC 7541 C.4, C.6
        ("f1e3 c2e5 f23a 6ba0 ab90 f4ff", b"www.example.com"),
        ("a8eb 1064 9cbf", b"no-cache"),
        ("25a8 49e9 5ba9 7d7f", b"custom-key"),
        ("25a8 49e9 5bb8 e8b4 bf", b"custom-value"),
        ("6402", b"302"),
        ("640e ff", b"307"),
        ("aec3 771a 4b", b"private"),
        ("d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        ("9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3", b"https://www.example.com"),
        ("9bd9 ab", b"gzip"),
        (
            (
                "94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 "
                "b106 3d50 07"
            ),
            b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
        ("", b""),
    ],
)
def test_examples_of_the_standard_are_decoded(encoded: str, decoded: bytes) -> None:
    assert decode_huffman(bytes.fromhex(encoded)) == decoded


@pytest.mark.parametrize("symbol", range(256))
def test_every_symbol_is_decoded_wherever_it_stands(symbol: int) -> None:
    for before in range(9):
        for behind in range(5):
            text = b"0" * before + bytes([symbol]) + b"&" * behind
            assert decode_huffman(ENCODER.encode(text)) == text


def test_strings_of_any_bytes_are_decoded() -> None:
    chance = random.Random(7541)
    for _ in range(3000):
        text = chance.randbytes(chance.randrange(80))
        assert decode_huffman(ENCODER.encode(text)) == text


@pytest.mark.parametrize(
    ("encoded", "what"),
    [
        (b"\xff", "too long"),
        (b"\xff\xff", "too long"),
        (b"\xff\xff\xff", "too long"),
        (bits("00000 111") + b"\xff", "too long"),  # 11 bits of padding
        (bits("00000 000"), "padding"),  # zeros
        (bits("00000 110"), "padding"),
        (bits("00000 011"), "padding"),
        (bits("0000 0000"), "padding"),
        (bits("1111 1110"), "padding"),  # the beginning of a longer code
        (bits("00000 111 1111 1110"), "padding"),  # a code of 13 bits without its last
        (b"\xff\xff\xff\xff", "EOS"),
        (bits("00000 111") + b"\xff\xff\xff\xff", "EOS"),
        (b"\xff\xff\xff\xfc\x7f", "EOS"),  # EOS, and a symbol and padding behind it
    ],
)
def test_what_is_no_string_is_refused(encoded: bytes, what: str) -> None:
    with pytest.raises(HpackError, match=what):
        decode_huffman(encoded)


@pytest.mark.parametrize("text", [b"", b"0", b"00", b"&", b"\x00", b"ab~"])
def test_padding_of_seven_bits_is_allowed_and_of_eight_is_not(text: bytes) -> None:
    encoded = ENCODER.encode(text)
    assert decode_huffman(encoded) == text
    with pytest.raises(HpackError, match=r"padding|EOS"):
        decode_huffman(encoded + b"\xff")
