"""The watcher tells every way a file changes, once it stands still."""

import asyncio
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.process.reload.watch import Watcher, look
from tests.support.issuer_events import until
from tests.support.looking import CountingWatcher


async def told(change: Callable[[], object], *watched: Path | str) -> int:
    """How often a change is told."""
    count = 0

    def changed() -> None:
        nonlocal count
        count += 1

    watcher = Watcher(watched, changed, 0.02)
    watching = asyncio.create_task(watcher.run())
    await asyncio.sleep(0.1)
    assert count == 0
    change()
    await until(lambda: count > 0)
    await asyncio.sleep(0.4)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return count


def write(path: Path) -> None:
    path.write_text("changed and longer")


def replace(path: Path) -> None:
    path.with_suffix(".new").write_text("other text")
    path.with_suffix(".new").rename(path)


def write_as_long(path: Path) -> None:
    """The same length, and times as before: only what it holds is other."""
    before = path.stat()
    path.write_text("next")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def make_readable_by_everyone(path: Path) -> None:
    path.chmod(0o666)


@pytest.mark.parametrize("change", [write, replace, write_as_long, make_readable_by_everyone, Path.unlink])
def test_change_of_a_file_is_told_once(tmp_path: Path, change: Callable[[Path], object]) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    assert asyncio.run(told(lambda: change(file), file)) == 1


def test_file_that_appears_is_told(tmp_path: Path) -> None:
    assert asyncio.run(told(lambda: (tmp_path / "new").write_text("x"), tmp_path / "new")) == 1
    assert asyncio.run(told(lambda: (tmp_path / "other.yaml").write_text("x"), f"{tmp_path}/*.yaml")) == 1


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


def touch_ahead(path: Path) -> None:
    """As on a machine whose clock is set back later."""
    os.utime(path, (4e9, 4e9))


def replace_by_its_like(path: Path) -> None:
    path.with_suffix(".new").write_text("text")
    path.with_suffix(".new").rename(path)


def neighbours(path: Path) -> None:
    """A log, a state directory, an editor's temporary file."""
    (path.parent / "sidecar.log").write_text("x")
    (path.parent / "state").mkdir()
    (path.parent / ".policy.yaml.swp").write_text("x")
    (path.parent / "policy.yaml~").write_text("x")


async def untold(change: Callable[[], object], *watched: Path | str) -> None:
    """Asserts that a change is none, and that the watcher sees the one that comes after it."""
    later = next(one for one in watched if isinstance(one, Path))
    watcher = CountingWatcher(watched)
    watching = asyncio.create_task(watcher.run())
    await until(lambda: watcher.looks > 1)
    change()
    seen = watcher.looks
    await until(lambda: watcher.looks > seen + 5)
    assert watcher.told == 0
    later.write_text("something else")
    await until(lambda: watcher.told > 0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.parametrize("change", [touch, touch_ahead, replace_by_its_like, neighbours])
def test_what_leaves_the_content_as_it_was_is_not_told(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("text")
    asyncio.run(untold(lambda: change(file), file, f"{tmp_path}/*.yaml"))


def test_file_descriptors_that_run_out_change_nothing(tmp_path: Path) -> None:
    """Neither a file that cannot be opened nor a pattern that then matches nothing has changed."""
    file = tmp_path / "policy.yaml"
    file.write_text("text")
    watched: list[Path | str] = [file, f"{tmp_path}/*.yaml"]
    before = look(watched, {})
    held: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        os.utime(file, (5, 5))
        assert look(watched, before) == before
        while held:
            os.close(held.pop())
            assert look(watched, before) == before
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    file.unlink()
    assert look(watched, before) != before


def test_swap_of_a_link_far_above_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"{name:>5}")
        os.utime(tmp_path / name / "file", (5, 5))
    (tmp_path / "..data").symlink_to("one")

    def swap() -> None:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "..data")

    assert asyncio.run(told(swap, tmp_path / "..data" / "file")) == 1


def test_files_changed_one_after_the_other_are_told_once(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("certificate", "key")]
    for file in files:
        file.write_text("old")

    async def run() -> int:
        count = 0

        def changed() -> None:
            nonlocal count
            count += 1

        watcher = Watcher(files, changed, 0.02)
        watching = asyncio.create_task(watcher.run())
        for file in files:
            before = watcher._seen
            file.write_text("renewed")
            await until(lambda before=before: watcher._seen != before)  # type: ignore[misc]
        await until(lambda: count > 0)
        await asyncio.sleep(0.5)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return count

    assert asyncio.run(run()) == 1


def test_other_files_may_be_followed_while_it_watches(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("x")

    async def run() -> list[str]:
        told: list[str] = []
        watcher = Watcher([first], lambda: told.append("changed"), 0.02)
        watching = asyncio.create_task(watcher.run())
        watcher.follow([second])
        first.write_text("no longer of interest")
        await asyncio.sleep(0.4)
        assert told == []
        second.write_text("x")
        await until(lambda: told != [])
        await asyncio.sleep(0.4)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return told

    assert asyncio.run(run()) == ["changed"]
