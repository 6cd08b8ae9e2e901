"""What a client sends is cut at the ends of its frames, into pieces of which none is much work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.proxy.http2.pieces import BLOCK_WORK, PIECE, PREFACE_BYTES, Pieces
from tests.support.http2_frames import CONTINUATION, DATA, HEADERS, PING, PREFACE, frame


def cut(pieces: Pieces) -> list[bytes]:
    """All that there are."""
    found = []
    while pieces.has_more:
        found.append(pieces.next())
    return found


@pytest.mark.parametrize(
    ("kind", "most"),
    [(HEADERS, PIECE // BLOCK_WORK), (CONTINUATION, PIECE // BLOCK_WORK), (DATA, PIECE), (PING, PIECE)],
)
def test_a_piece_holds_few_frames(kind: int, most: int) -> None:
    pieces, one = Pieces(0, PIECE), frame(kind, 0, 1, b"12345678")
    pieces.add(one * 100)
    found = cut(pieces)
    assert b"".join(found) == one * 100
    assert {len(each) // len(one) for each in found[:-1]} == {most}


def test_a_large_frame_is_one_piece() -> None:
    pieces, one = Pieces(0, PIECE), frame(DATA, 0, 1, b"x" * 16384)
    pieces.add(one)
    assert cut(pieces) == [one]


def test_the_preface_is_no_frame() -> None:
    pieces = Pieces(PREFACE_BYTES, PIECE)
    pieces.add(PREFACE + frame(HEADERS, 5, 1, b"x") * 3)
    assert len(PREFACE) == PREFACE_BYTES
    assert [len(each) for each in cut(pieces)] == [PREFACE_BYTES + 20, 10]


def test_a_header_of_a_frame_waits_until_it_is_whole() -> None:
    pieces, one = Pieces(0, PIECE), frame(HEADERS, 5, 1, b"abc")
    pieces.add(one[:8])
    assert not pieces.has_more
    assert pieces.next() == b""
    pieces.add(one[8:10])
    assert pieces.next() == one[:10]
    pieces.add(one[10:] + one)
    assert cut(pieces) == [one[10:] + one]


def test_what_nobody_wants_is_gone() -> None:
    pieces = Pieces(0, PIECE)
    pieces.add(frame(HEADERS, 5, 1, b"x") * 5)
    pieces.next()
    pieces.clear()
    assert not pieces.has_more


@given(
    frames=st.lists(
        st.tuples(st.sampled_from([0, 1, 6, 9, 119]), st.integers(0, 40)), min_size=1, max_size=60
    ),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40),
)
def test_nothing_is_lost_and_no_piece_is_much_however_it_was_cut(
    frames: list[tuple[int, int]], sizes: list[int]
) -> None:
    stream = b"".join(frame(kind, 0, 1, bytes(size)) for kind, size in frames)
    begins, at = {0}, 0
    for _, size in frames:
        at += 9 + size
        begins.add(at)
    pieces, given_bytes, told, rounds = Pieces(0, PIECE), 0, b"", 0
    while given_bytes < len(stream):
        size = sizes[rounds % len(sizes)]
        rounds += 1
        pieces.add(stream[given_bytes : given_bytes + size])
        given_bytes += size
        while pieces.has_more:
            one = pieces.next()
            whole = [each for each in begins if len(told) <= each < len(told) + len(one)]
            assert len(whole) <= PIECE
            told += one
    assert stream.startswith(told)
    assert told == stream
