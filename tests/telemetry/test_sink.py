"""The sink never waits for its reader, and says how much it lost."""

import os
import threading
import time
from pathlib import Path

import pytest

from sidecar.telemetry.access import AccessLine
from sidecar.telemetry.outcome import outcome_of
from sidecar.telemetry.sink import PIPE_BUFFER, PLACE, LineSink
from tests.support.processes import eventually
from tests.support.records import record

PATIENCE = 20.0
"""Seconds for a thread to write what it has: more than it needs on the busiest machine."""


def test_lines_arrive_in_order_and_whole(tmp_path: Path) -> None:
    sink = LineSink(path=tmp_path / "log")
    for number in range(1000):
        sink.write(f"{number}\n")
    sink.close(PATIENCE)
    assert (tmp_path / "log").read_text() == "".join(f"{number}\n" for number in range(1000))


def test_with_a_timer_one_call_hands_over_many_lines(tmp_path: Path) -> None:
    sink, timers = LineSink(path=tmp_path / "log"), []
    sink.attach(lambda delay, flush: timers.append((delay, flush)))
    for _ in range(10):
        sink.write("x\n")
    assert len(timers) == 1
    assert (tmp_path / "log").read_text() == ""
    timers[0][1]()
    eventually(lambda: (tmp_path / "log").read_text() == "x\n" * 10)
    sink.write("y\n")
    assert len(timers) == 2
    sink.close(PATIENCE)


def test_stuck_reader_blocks_nobody_and_losses_are_counted() -> None:
    reader, writer = os.pipe()
    sink = LineSink(writer, limit=1_000_000)
    line = "x" * 999 + "\n"
    started = time.monotonic()
    for _ in range(5000):
        sink.write(line)
    took = time.monotonic() - started
    assert sink.dropped >= 4000 - 100
    kept = 5000 - sink.dropped
    received = bytearray()
    drain = threading.Thread(target=lambda: received.extend(_read_all(reader)))
    drain.start()
    sink.close(PATIENCE)
    os.close(writer)
    drain.join(PATIENCE)
    os.close(reader)
    assert bytes(received) == line.encode() * kept
    assert took < 30, "the pipe held 64 KiB; whoever waits for it waits for ever"


def _read_all(descriptor: int) -> bytes:
    data = b""
    while chunk := os.read(descriptor, 1 << 16):
        data += chunk
    return data


def test_after_a_stuck_reader_comes_back_lines_flow_again() -> None:
    reader, writer = os.pipe()
    sink = LineSink(writer, limit=200_000)
    for _ in range(400):
        sink.write("x" * 999 + "\n")
    assert sink.dropped > 0
    drained = threading.Thread(target=_read_all, args=(reader,), daemon=True)
    drained.start()
    eventually(lambda: sink._unwritten == 0)
    before = sink.dropped
    sink.write("again\n")
    sink.close(PATIENCE)
    assert sink.dropped == before
    os.close(writer)
    drained.join(PATIENCE)
    os.close(reader)


def test_closed_output_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sink = LineSink(writer)
    sink.write("one\n")
    sink.write("two\n")
    sink.close(PATIENCE)
    assert sink.dropped == 2
    os.close(writer)


def test_full_disk_costs_lines_and_nothing_else() -> None:
    sink = LineSink(path=Path("/dev/full"))
    sink.write("one\n")
    sink.close(PATIENCE)
    assert sink.dropped == 1


def test_moved_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = LineSink(path=path)
    sink.write("before\n")
    eventually(lambda: path.read_text() == "before\n")
    path.rename(tmp_path / "log.1")
    sink.reopen()
    sink.write("after\n")
    sink.close(PATIENCE)
    assert (tmp_path / "log.1").read_text() == "before\n"
    assert path.read_text() == "after\n"


def test_file_that_cannot_be_opened_again_keeps_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = LineSink(path=folder / "log")
    (folder / "log").rename(tmp_path / "moved")
    folder.rmdir()
    sink.reopen()
    sink.write("still here\n")
    sink.close(PATIENCE)
    text = (tmp_path / "moved").read_text()
    assert "still here\n" in text
    assert "log file not reopened" in text


def test_file_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LineSink(path=tmp_path / "missing" / "log")


def test_shared_pipe_gets_writes_that_do_not_tear_lines() -> None:
    reader, writer = os.pipe()
    lines = [f"{number:04}" + "x" * 500 + "\n" for number in range(100)]
    sinks = [LineSink(os.dup(writer), shared=True) for _ in range(4)]
    received = bytearray()
    drain = threading.Thread(target=lambda: received.extend(_read_all(reader)))
    drain.start()
    for sink in sinks:
        sink.attach(lambda _delay, _flush: None)
        for line in lines:
            sink.write(line)
    for sink in sinks:
        sink.close(PATIENCE)
        os.close(sink._descriptor)
    os.close(writer)
    drain.join(PATIENCE)
    os.close(reader)
    assert sorted(bytes(received).decode().splitlines(keepends=True)) == sorted(lines * 4)
    assert len(lines[0]) < PIPE_BUFFER


def test_a_loop_that_never_turns_loses_no_line(tmp_path: Path) -> None:
    """Ten times the buffer in one turn: no timer fires, and every line arrives. Where the machine is so busy that the
    writer's thread gets no time, it is waited for, as a request would.
    """
    sink, timers = LineSink(path=tmp_path / "log", limit=1 << 20), []
    sink.attach(lambda delay, flush: timers.append((delay, flush)))
    line, pad = AccessLine(), "x" * 300
    made = record(path=f"/{pad}")
    labels = outcome_of(made)
    count = 0
    while count * 1000 < 10 << 20:
        eventually(lambda: sink.held < 1 << 19)
        sink.write(line.render(made, labels))
        count += 1
    assert len(timers) == 1
    sink.close(PATIENCE)
    assert sink.dropped == 0
    assert (tmp_path / "log").read_bytes().count(b"\n") == count


def test_lines_without_a_place_leave_half_of_the_buffer_to_those_that_have_one() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    sink = LineSink(writer, limit=1_000_000, reserves=True)
    sink.attach(lambda _delay, _flush: None)
    for _ in range(2000):  # the pipe takes 64 KiB, whoever reads it
        sink.write("d" * 999 + "\n")
    assert sink.held <= 500_000
    assert sink.dropped >= 1400
    dropped, places = sink.dropped, 0
    while sink.reserve():
        places += 1
    assert places >= 500_000 // PLACE - 1
    assert not sink.reserve()
    for _ in range(places):
        sink.write("p" * 999 + "\n", has_place=True)
    assert sink.dropped == dropped
    received = bytearray()
    os.set_blocking(reader, True)
    drain = threading.Thread(target=lambda: received.extend(_read_all(reader)))
    drain.start()
    sink.close(PATIENCE)
    os.close(writer)
    drain.join(PATIENCE)
    os.close(reader)
    assert bytes(received).count(b"p" * 999 + b"\n") == places
    assert sink.held == 0


def test_a_place_is_given_back_with_its_line_however_long_that_is(tmp_path: Path) -> None:
    sink = LineSink(path=tmp_path / "log", limit=2 * PLACE, reserves=True)
    sink.attach(lambda _delay, _flush: None)
    assert [sink.reserve() for _ in range(3)] == [True, True, False]
    sink.write("x" * (3 * PLACE) + "\n", has_place=True)
    assert not sink.reserve()
    sink.write("y\n", has_place=True)
    sink.close(PATIENCE)
    assert (tmp_path / "log").read_text() == "x" * (3 * PLACE) + "\ny\n"
    assert (sink.held, sink.dropped) == (0, 0)


def test_what_cannot_be_written_is_tried_again_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    sink = LineSink(path=path, reserves=True)
    for number in range(3):
        assert sink.reserve()
        sink.write(f"{number}\n", has_place=True)
    assert sink.held > 0
    path.unlink()
    sink.reopen()
    eventually(lambda: path.exists() and path.read_text() == "0\n1\n2\n")
    sink.close(PATIENCE)
    assert sink.dropped == 0


def test_a_sink_that_is_closed_gives_up_what_nobody_takes(tmp_path: Path) -> None:
    sink = LineSink(path=Path("/dev/full"), reserves=True)
    assert sink.reserve()
    sink.write("x\n", has_place=True)
    sink.close(PATIENCE)
    assert sink.dropped == 1
