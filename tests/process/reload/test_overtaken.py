"""A file that changes after it was read and before it is watched is found changed; nothing else is."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.process.reload.loader import load_apart
from sidecar.process.reload.overtaken import clock, names, overtaken
from sidecar.process.reload.reloader import Reloader, watched
from sidecar.settings import Loaded
from tests.support.client_files import Clients
from tests.support.issuer_events import until
from tests.support.looking import CountingWatcher
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.records import RecordedTelemetry
from tests.support.sidecar import Sidecar, policy

TEXT = "as it was read"


def tick() -> None:
    """Later than everything that was done so far, by the kernel's clock.

    Kernels since 6.13 date finer than this clock shows, and a tick that comes late shows the time at which it was due:
    a change of a moment ago may be dated after it. The tick after that one is later than both.
    """
    for _ in range(2):
        now = clock()
        while clock() == now:
            pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`policy.yaml`, and `volume/key`, which is mounted as Kubernetes mounts a volume."""
    (tmp_path / "policy.yaml").write_text(TEXT)
    for version in ("..1", "..2"):
        (tmp_path / "volume" / version).mkdir(parents=True)
        (tmp_path / "volume" / version / "key").write_text(version)
    (tmp_path / "volume" / "..data").symlink_to("..1")
    (tmp_path / "volume" / "key").symlink_to("..data/key")
    tick()
    return tmp_path


def rewrite(folder: Path) -> None:
    (folder / "policy.yaml").write_text("other")


def replace(folder: Path) -> None:
    (folder / "next").write_text("other")
    (folder / "next").rename(folder / "policy.yaml")


def rewrite_with_old_times(folder: Path) -> None:
    """As tools do that keep a file's times: `cp -p`, `rsync -t`, `tar`."""
    (folder / "policy.yaml").write_text("other")
    os.utime(folder / "policy.yaml", (1, 1))


def remove(folder: Path) -> None:
    (folder / "policy.yaml").unlink()


def make_readable_by_everyone(folder: Path) -> None:
    (folder / "policy.yaml").chmod(0o666)


def swap_the_data_link(folder: Path) -> None:
    """The files of the new version are older than the reading: only the link is newer."""
    (folder / "volume" / "..data_tmp").symlink_to("..2")
    (folder / "volume" / "..data_tmp").rename(folder / "volume" / "..data")


def take_the_version_away(folder: Path) -> None:
    (folder / "volume" / "..1").rename(folder / "volume" / "..gone")


def link_in_a_circle(folder: Path) -> None:
    (folder / "volume" / "key").unlink()
    (folder / "volume" / "key").symlink_to("key")


def add_a_policy(folder: Path) -> None:
    (folder / "more.yaml").write_text("older than the reading, but not there then")


def seen_by(folder: Path) -> list[Path | str]:
    return [folder / "policy.yaml", folder / "volume" / "key", f"{folder}/*.yaml"]


async def told(folder: Path, change: Callable[[Path], object], looks: int = 4) -> int:
    """How often the watcher calls, in so many looks, when `change` came between the reading and the first of them."""
    since = clock()
    change(folder)
    tick()
    watcher = CountingWatcher(seen_by(folder), since)
    watching = asyncio.create_task(watcher.run())
    await until(lambda: watcher.looks >= looks)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return watcher.told


@pytest.mark.parametrize(
    "change",
    [
        rewrite,
        replace,
        rewrite_with_old_times,
        remove,
        make_readable_by_everyone,
        swap_the_data_link,
        take_the_version_away,
        link_in_a_circle,
        add_a_policy,
    ],
)
def test_change_between_the_reading_and_the_first_look_is_told_once(
    folder: Path, change: Callable[[Path], object]
) -> None:
    assert asyncio.run(told(folder, change)) == 1


def neighbours(folder: Path) -> None:
    """A log, a token that is written at the start, an editor's file, a folder, the next version of a volume."""
    for name in ("sidecar.log", "admin-token", ".policy.yaml.swp"):
        (folder / name).write_text("x")
    (folder / "state.yaml").mkdir()
    (folder / "volume" / "..3").mkdir()


@pytest.mark.parametrize("change", [neighbours, lambda folder: (folder / "policy.yaml").read_text()])
def test_what_changes_no_file_that_was_read_is_not_told(
    folder: Path, change: Callable[[Path], object]
) -> None:
    assert asyncio.run(told(folder, change)) == 0


def unread(loaded: Loaded) -> set[Path | str]:
    assert loaded.read_since is not None
    return overtaken(watched(loaded), loaded.files, loaded.read_since)


def test_configuration_that_stands_still_is_seen_as_read(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its files are named: else every start would be followed by a reload."""
    clients = Clients.create(tmp_path, pki)
    service = clients.configuration.file
    service.write_text(service.read_text().replace("policies/*", "./clients/..//policies/**/*"))
    monkeypatch.chdir(tmp_path)
    tick()
    for path in (service, Path(service.name), Path("policies", "..", service.name)):
        loaded = load_apart(path, 1)
        assert len(watched(loaded)) > 5
        assert unread(loaded) == set()


def test_folder_whose_name_looks_like_a_pattern_is_watched(tmp_path: Path, pki: Pki) -> None:
    """A policy file that appears in it would not be found otherwise."""
    (folder := tmp_path / "[a]*?").mkdir()
    loaded = Clients.create(folder, pki).configuration.load()
    found = [path for pattern in loaded.policy_patterns for path in names(pattern)]
    assert sorted(found) == sorted(map(str, [*folder.glob("policies/*"), *folder.glob("clients/*")])) != []


def test_change_while_the_first_configuration_is_prepared_is_followed_by_a_reload(
    tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    one = Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key])
    recorder = RecordedTelemetry(tmp_path)

    async def run() -> list[str]:
        loaded = load_apart(one.config, 1)
        one.write_policy(policy(rules=[]))
        taken: list[str] = []

        async def take(loaded: Loaded) -> None:
            taken.append(" ".join(rule.name for rule in loaded.policy.rules))
            if len(taken) == 1:  # a file that this configuration is the first to name
                one.write_policy({"rules": [{"name": "later", "match": {"path": "/x"}}]}, "b.yaml")

        reloader = Reloader(one.config, loaded, take, recorder.journal, recorder.metrics)
        one.write_policy({"rules": [{"name": "early", "match": {"path": "/x"}}]}, "b.yaml")
        running = asyncio.create_task(reloader.run())
        await until(lambda: "later" in taken, within=120)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return taken

    assert asyncio.run(run()) == ["early", "later"]
