"""The watcher tells every way a file changes, once it stands still."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.process.reload.watch import Watcher
from tests.support.issuer_events import until


async def told(change: Callable[[], object], *paths: Path) -> int:
    """How often a change is told."""
    count = 0

    def changed() -> None:
        nonlocal count
        count += 1

    watcher = Watcher(paths, changed, 0.02)
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
    path.with_suffix(".new").write_text("text")
    path.with_suffix(".new").rename(path)


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


def touch_ahead(path: Path) -> None:
    """As on a machine whose clock is set back later."""
    os.utime(path, (4e9, 4e9))


@pytest.mark.parametrize("change", [write, replace, touch, touch_ahead, Path.unlink])
def test_change_of_a_file_is_told_once(tmp_path: Path, change: Callable[[Path], object]) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    assert asyncio.run(told(lambda: change(file), file)) == 1


def test_file_that_appears_is_told(tmp_path: Path) -> None:
    assert asyncio.run(told(lambda: (tmp_path / "new").write_text("x"), tmp_path / "new")) == 1
    assert asyncio.run(told(lambda: (tmp_path / "other").write_text("x"), tmp_path)) == 1


def test_swap_of_a_link_far_above_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("same")
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

        watching = asyncio.create_task(Watcher(files, changed, 0.02).run())
        for file in files:
            await asyncio.sleep(0.1)
            file.write_text("renewed")
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
