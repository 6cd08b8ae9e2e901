"""Who may write the files that decide, and what is never shown of a file that was named by mistake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.settings import Loaded, SettingsError, load
from sidecar.settings.problem import shown
from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.sidecar import Sidecar, policy

SWITCH = "insecure_policy_writable_by_everyone"


@pytest.fixture
def one(tmp_path: Path, pki: Pki, signing_key: SigningKey) -> Sidecar:
    return Sidecar(tmp_path, pki, "http://127.0.0.1:9", keys=[signing_key])


def problems(path: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["sidecar.yaml", "policies/policy.yaml"])
def test_file_that_everyone_may_write_decides_nothing(one: Sidecar, name: str) -> None:
    (one.folder / name).chmod(0o646)
    (told,) = problems(one.config)
    assert told == (
        f"{one.folder / name}:0:0: is writable by everyone: chmod o-w (or set process.{SWITCH}: true)"
    )


def test_every_file_that_everyone_may_write_is_named(one: Sidecar) -> None:
    one.write_policy(policy(rules=[], issuers=[]), "more.yaml")
    for file in (one.folder / "policies").iterdir():
        file.chmod(0o666)
    assert len(problems(one.config)) == 2


def test_it_may_be_allowed_by_a_name_that_embarrasses(one: Sidecar) -> None:
    (one.folder / "policies" / "policy.yaml").chmod(0o666)
    one.write_service({**one.service_document("http://127.0.0.1:9"), "process": {SWITCH: True}})
    loaded: Loaded = load(one.config)
    assert any(SWITCH in danger.message for danger in loaded.dangers)


def test_links_and_folders_are_open_to_all_in_a_config_map_and_its_files_are_not(one: Sidecar) -> None:
    """What counts is the file that was opened."""
    mounted = one.folder / "policies"
    data = mounted / "..2026_01"
    data.mkdir()
    (mounted / "policy.yaml").rename(data / "policy.yaml")
    (mounted / "..data").symlink_to("..2026_01")
    (mounted / "policy.yaml").symlink_to("..data/policy.yaml")
    for folder in (mounted, data, one.folder):
        folder.chmod(0o777)
    assert load(one.config).policy.rules
    (data / "policy.yaml").chmod(0o646)
    assert len(problems(one.config)) == 1


def as_pem(pki: Pki) -> str:
    return pki.server.key_pem.decode()


SECRETS: dict[str, Callable[[Pki], str]] = {
    "a private key": as_pem,
    "a key in one line": lambda pki: as_pem(pki).replace("\n", " "),
    "a password": lambda _: "hunter2-hunter2-hunter2",
    "a password and a line": lambda _: "hunter2-hunter2-hunter2\n",
    "a token": lambda _: "eyJhbGciOiJub25lIn0.hunter2-hunter2-hunter2.x",
    "a quoted text": lambda _: '"hunter2-hunter2-hunter2"',
}


@pytest.mark.parametrize("kind", SECRETS)
def test_file_that_was_named_by_mistake_is_not_shown(one: Sidecar, pki: Pki, kind: str) -> None:
    text = SECRETS[kind](pki)
    named = one.folder / "tls.key"
    named.write_text(text)
    told = " ".join(problems(named))
    assert "expected a mapping of keys to values, got text" in told or "is not YAML" in told
    quoted = [
        text[at : at + 12] for at in range(max(1, len(text.strip()) - 12)) if text[at : at + 5] != "-----"
    ]
    assert [part for part in quoted if part in told.removeprefix(str(named))] == []


@pytest.mark.parametrize("kind", ["a private key", "a key in one line", "a token"])
def test_secret_in_place_of_its_file_is_not_shown(one: Sidecar, pki: Pki, kind: str) -> None:
    document = one.service_document("http://127.0.0.1:9")
    document["listeners"][0]["tls"]["private_key_file"] = SECRETS[kind](pki)
    one.write_service(document)
    told = " ".join(problems(one.config))
    assert "text that is not shown" in told
    assert "hunter2" not in told
    assert "PRIVATE" not in told


@pytest.mark.parametrize("text", ["a\nb", "-----BEGIN EC PRIVATE KEY----- x", "eyJhbGciOiJub25lIn0.e30."])
def test_what_may_be_a_secret_is_never_shown(text: str) -> None:
    assert shown(text) == "text that is not shown"
    assert shown("tls/eyJ.key") == "`tls/eyJ.key`"


def test_long_path_is_cut_in_its_middle_so_that_the_file_is_still_named() -> None:
    path = "/etc/bank/" + "very-long-name-of-a-folder/" * 10 + "partner-authorities.pem"
    said = shown(path)
    assert len(said) == 82
    assert said.startswith("`/etc/bank/very")
    assert said.endswith("partner-authorities.pem`")
    assert "…" in said
    assert shown("a/\n") == "text that is not shown"
    assert shown("tls/" + "\x07" * 3) == "`tls/\\x07\\x07\\x07`"
    assert len(shown("/" + "\x07" * 300)) == 82
