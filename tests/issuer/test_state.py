"""Last good keys on disk: private, whole, and trusted only when nobody else could have written them."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.issuer.state import StateFile, StateUnusable

ISSUER, ORIGIN, NOW = "https://as.example.com", "https://as.example.com/jwks", 1_800_000_000.0
DOCUMENT = {"keys": [{"kty": "EC", "kid": "a"}]}


@pytest.fixture
def state(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path, ISSUER, ORIGIN)


def saved(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def edited(folder: Path, edit: Callable[[dict[str, object]], object]) -> None:
    path = saved(folder)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_what_was_saved_is_loaded_with_its_age(state: StateFile) -> None:
    state.save(DOCUMENT, NOW)
    loaded = state.load(NOW + 90)
    assert loaded is not None
    assert loaded.document == DOCUMENT
    assert loaded.age == 90


def test_nothing_saved_is_nothing_loaded(state: StateFile) -> None:
    assert state.load(NOW) is None


def test_file_is_for_its_owner_alone(state: StateFile, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        state.save(DOCUMENT, NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(saved(tmp_path).stat().st_mode) == 0o600


def test_file_is_replaced_in_one_step(state: StateFile, tmp_path: Path) -> None:
    state.save(DOCUMENT, NOW)
    with saved(tmp_path).open("rb") as old:
        state.save({"keys": []}, NOW + 1)
        assert json.loads(old.read())["jwks"] == DOCUMENT  # a reader of the old file saw all of it
    assert len(list(tmp_path.iterdir())) == 1


def test_failed_save_leaves_no_litter_and_the_old_file(state: StateFile, tmp_path: Path) -> None:
    state.save(DOCUMENT, NOW)
    with pytest.raises(TypeError):
        state.save({"keys": [object()]}, NOW + 1)
    loaded = state.load(NOW + 2)
    assert loaded is not None
    assert loaded.document == DOCUMENT
    assert len(list(tmp_path.iterdir())) == 1


def test_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state", ISSUER, ORIGIN)
    state.save(DOCUMENT, NOW)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert state.load(NOW) is not None


def test_directory_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        StateFile(tmp_path / "missing" / "state", ISSUER, ORIGIN).save(DOCUMENT, NOW)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_may_write_is_not_trusted(mode: int, state: StateFile, tmp_path: Path) -> None:
    state.save(DOCUMENT, NOW)
    saved(tmp_path).chmod(mode)
    with pytest.raises(StateUnusable, match="someone else"):
        state.load(NOW)


def test_link_is_not_followed(state: StateFile, tmp_path: Path) -> None:
    state.save(DOCUMENT, NOW)
    path = saved(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to("elsewhere")
    with pytest.raises(StateUnusable, match="cannot be opened"):
        state.load(NOW)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_anything_but_a_regular_file_is_not_trusted(
    make: Callable[[Path], None], state: StateFile, tmp_path: Path
) -> None:
    state.save(DOCUMENT, NOW)
    path = saved(tmp_path)
    path.unlink()
    make(path)
    with pytest.raises(StateUnusable, match="no regular file"):
        state.load(NOW)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"version": 2}', '{"version": 1, "version": 1}', " " * (1 << 20) + "{}"]
)
def test_broken_file_is_unusable(content: str, state: StateFile, tmp_path: Path) -> None:
    state.save(DOCUMENT, NOW)
    saved(tmp_path).write_text(content)
    with pytest.raises(StateUnusable):
        state.load(NOW)


def test_keys_of_another_origin_are_not_used(state: StateFile, tmp_path: Path) -> None:
    state.save(DOCUMENT, NOW)
    assert StateFile(tmp_path, ISSUER, "https://other.example/jwks").load(NOW) is None


def test_keys_of_another_issuer_are_not_used(state: StateFile, tmp_path: Path) -> None:
    state.save(DOCUMENT, NOW)
    assert StateFile(tmp_path, "https://other.example", ORIGIN).load(NOW) is None
    edited(tmp_path, lambda content: content.update(issuer="https://other.example"))
    assert state.load(NOW) is None


def test_file_from_the_future_has_no_age(state: StateFile) -> None:
    # The clock jumped back, or the file was made elsewhere: its budget could be made to last for ever.
    state.save(DOCUMENT, NOW + 301)
    with pytest.raises(StateUnusable, match="future"):
        state.load(NOW)
    state.save(DOCUMENT, NOW + 10)
    loaded = state.load(NOW)
    assert loaded is not None
    assert loaded.age == 0


@pytest.mark.parametrize("value", [None, True, "1800000000", []])
def test_file_that_does_not_say_when_is_unusable(value: object, state: StateFile, tmp_path: Path) -> None:
    state.save(DOCUMENT, NOW)
    edited(tmp_path, lambda content: content.update(fetched_at=value))
    with pytest.raises(StateUnusable, match="when"):
        state.load(NOW)
