"""`sidecar admin-url`: the link to the page, for who may read the token."""

import os
from pathlib import Path

import pytest

from sidecar.command.cli import main
from sidecar.command.service_file import INJECTED
from sidecar.injection.service_file import SERVICE_VARIABLE
from sidecar.process.endpoints.admin.token import AdminToken, token_file
from sidecar.settings import SettingsError
from sidecar.settings.admin import admin_address


def service(folder: Path, admin: str = "{address: 127.0.0.1:9901, token_file: admin-token}") -> Path:
    """A service file of which nothing but the section `admin` is good."""
    file = folder / "sidecar.yaml"
    file.write_text(f"listeners: 7\nadmin: {admin}\n")
    return file


def token(folder: Path) -> str:
    AdminToken(folder / "admin-token").write()
    return (folder / "admin-token").read_text().strip()


def test_link_holds_the_token_where_no_browser_sends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It works while the rest of the configuration is broken: that is when the page is wanted."""
    value = token(tmp_path)
    assert main(["admin-url", "--config", str(service(tmp_path))]) == 0
    assert capsys.readouterr().out == f"http://127.0.0.1:9901/#token={value}\n"
    assert main(["admin-url", "--config", str(service(tmp_path)), "--port", "19901"]) == 0
    assert capsys.readouterr().out == f"http://127.0.0.1:19901/#token={value}\n"
    assert main(["admin-url", "--config", str(service(tmp_path)), "--token"]) == 0
    assert capsys.readouterr().out == f"{value}\n"
    file = service(tmp_path, '{address: "[::1]:9901", token_file: admin-token}')
    assert main(["admin-url", "--config", str(file)]) == 0
    assert capsys.readouterr().out == f"http://[::1]:9901/#token={value}\n"


@pytest.mark.parametrize(
    ("admin", "told"),
    [
        ('"unix:///run/admin.sock"', "expected"),
        ("{address: unix:///run/admin.sock}", "checks the account and needs no token"),
        ("{address: 127.0.0.1:0, token_file: admin-token}", "give it as --port"),
        ("{address: 127.0.0.1:9901, token_file: absent}", "absent does not exist: no sidecar"),
        ("{address: 127.0.0.1:9901, token_file: folder}", "is not a file that its owner alone may read"),
        ("{address: 127.0.0.1:9901, token_file: link}", "link cannot be read"),
        ("{address: 127.0.0.1:9901, token_file: shared}", "is not a file that its owner alone may read"),
        ("{address: 127.0.0.1:9901, token_file: odd}", "odd holds no token"),
        ("{address: 127.0.0.1:9901, token_file: empty}", "empty holds no token"),
        ("{address: 0.0.0.0:9901}", "is not loopback"),
    ],
)
def test_what_stands_in_the_way_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], admin: str, told: str
) -> None:
    token(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("admin-token")
    for name, text, mode in (
        ("shared", "abc", 0o640),
        ("odd", "http://evil.example/#", 0o600),
        ("empty", "", 0o600),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    assert main(["admin-url", "--config", str(service(tmp_path, admin))]) == 1
    captured = capsys.readouterr()
    assert told in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_without_the_section_there_is_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sidecar.yaml").write_text("health: {address: 127.0.0.1:9902}\n")
    assert main(["admin-url", "--config", str(tmp_path / "sidecar.yaml")]) == 1
    assert "has no `admin` section" in capsys.readouterr().err


def test_file_that_is_no_service_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sidecar.yaml").write_text("admin: [")
    with pytest.raises(SettingsError):
        admin_address(tmp_path / "sidecar.yaml")


def test_token_is_kept_among_the_temporary_files_by_port(tmp_path: Path) -> None:
    admin = admin_address(service(tmp_path, "{address: 127.0.0.1:9901}"))
    assert admin is not None
    assert token_file(admin).name == "bound-token-sidecar-admin-9901"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_token_of_a_process_that_gives_up_root_belongs_to_what_it_becomes(tmp_path: Path) -> None:
    one = AdminToken(tmp_path / "admin-token")
    one.write((65534, 65534))
    found = (tmp_path / "admin-token").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65534, 0o600)
    one.remove()
    assert not (tmp_path / "admin-token").exists()


def test_service_file_is_the_one_that_is_named_else_the_usual_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = token(tmp_path)
    service(tmp_path)
    monkeypatch.delenv("SIDECAR_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["admin-url", "--token"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("SIDECAR_CONFIG", str(tmp_path / "sidecar.yaml"))
    assert main(["admin-url", "--token"]) == 0
    monkeypatch.delenv("SIDECAR_CONFIG")
    admin = f"admin: {{address: 127.0.0.1:9901, token_file: {tmp_path}/admin-token}}"
    assert INJECTED == SERVICE_VARIABLE
    monkeypatch.setenv(INJECTED, admin)
    assert main(["admin-url", "--token"]) == 0, "in an injected container the service file is a variable"
    monkeypatch.delenv(INJECTED)
    assert capsys.readouterr().out == f"{value}\n" * 3
    with pytest.raises(SystemExit) as caught:
        main(["admin-url"])
    assert caught.value.code == 2
    assert "--config" in capsys.readouterr().err
