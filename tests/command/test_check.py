"""`sidecar check`: every problem as `file:line:column: message`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.command.cli import main
from tests.support.configuration import ISSUER, SERVICE, Configuration
from tests.support.pki import Pki

ROOT = Path(__file__).parents[2]

FIVE_MISTAKES = """\
listeners:
  - address: 0.0.0.0:8443
    tls: {certificate_file: server.crt, private_key_file: server.key, minimum_version: 1.2}
upstream:
  url: http://127.0.0.1:8080
  conect_timeout: 2s
policy_files: [policies/*.yaml]
timeouts: {idle: 75}
logging: {access: no}
workers: 1
workers: 2
"""
FIVE_LINES = """\
sidecar.yaml:3:88: expected text, got 1.2: put it in quotes
sidecar.yaml:6:3: unknown key `conect_timeout`; did you mean `connect_timeout`?
sidecar.yaml:8:18: a duration needs a unit: 75s? (ms, s, m, h, d)
sidecar.yaml:9:19: `no` is a boolean to some YAML parsers: write false or "no"
sidecar.yaml:11:1: duplicate key `workers`: first on line 10
"""


GROUPS = "X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024, X25519, X448, P-256, P-384, P-521"


@pytest.fixture
def configuration(tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    """A small good configuration in the working directory."""
    monkeypatch.chdir(tmp_path)
    return Configuration.create(tmp_path, pki)


def check(*words: str) -> int:
    return main(["check", "--config", "sidecar.yaml", *words])


def test_a_good_configuration_passes(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check() == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "sidecar.yaml: good: 1 issuer, 1 rule, 0 warnings\n"


def test_five_mistakes_are_five_lines(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration.write_service(FIVE_MISTAKES)
    assert check() == 1
    assert capsys.readouterr().out == FIVE_LINES


@pytest.mark.field_cases
@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("[X25519, P256]", f"3:88: expected one of {GROUPS}, got `P256`; did you mean `P-256`?"),
        ("[secp384r1]", f"3:80: expected one of {GROUPS}, got `secp384r1`"),
        ("[]", "3:79: must not be empty"),
        ("X25519", "3:79: expected a list, got `X25519`: write [X25519]"),
    ],
)
def test_a_group_that_nobody_knows_is_named_at_its_place(
    configuration: Configuration, capsys: pytest.CaptureFixture[str], groups: str, expected: str
) -> None:
    configuration.write_service(SERVICE.replace("server.key}", f"server.key, groups: {groups}}}"))
    assert check() == 1
    assert capsys.readouterr().out.startswith(f"sidecar.yaml:{expected}")


def test_mistakes_in_all_files_are_said_at_once(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration.write_service(f"{SERVICE}relm: a\n")
    configuration.write_policy(f"{ISSUER}rules: [{{name: a, match: {{pth: /a}}}}]\n")
    configuration.write_policy("rules: [{match: {}}]\n", "second.yaml")
    assert check() == 1
    assert capsys.readouterr().out == (
        "policies/policy.yaml:5:27: unknown key `pth`; did you mean `path`?\n"
        "policies/second.yaml:1:9: missing key `name`\n"
        "sidecar.yaml:6:1: unknown key `relm`; did you mean `realm`?\n"
    )


MISSPELT = """\
listners:
  - address: 0.0.0.0:8443
upsteam: {url: http://127.0.0.1:8080}
polcy_files: [policies/*.yaml]
"""


def test_a_misspelt_key_is_one_mistake_and_not_a_missing_one_too(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration.write_service(MISSPELT)
    assert check() == 1
    assert capsys.readouterr().out == (
        "sidecar.yaml:1:1: unknown key `listners`; did you mean `listeners`?\n"
        "sidecar.yaml:3:1: unknown key `upsteam`; did you mean `upstream`?\n"
        "sidecar.yaml:4:1: unknown key `polcy_files`; did you mean `policy_files`?\n"
    )


def test_warnings_are_printed_and_pass(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration.write_policy(f"{ISSUER}rules: [{{name: a, match: {{}}}}]\n")
    assert check() == 0
    assert capsys.readouterr().out == "policies/policy.yaml:5:19: warning: `/**` fits every path\n"


def test_warnings_fail_a_strict_check(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration.write_policy(f"{ISSUER}rules: [{{name: a, match: {{}}}}]\n")
    assert check("--strict") == 1
    assert "good" not in capsys.readouterr().err


def test_keys_that_are_not_at_hand_are_a_problem_unless_told(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    (configuration.folder / "server.key").unlink()
    assert check() == 1
    assert capsys.readouterr().out == "sidecar.yaml:3:59: `server.key` does not exist\n"
    assert check("--without-secrets") == 0
    assert capsys.readouterr().out == "sidecar.yaml:3:59: warning: `server.key` does not exist\n"


def test_json_says_the_same_for_machines(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration.write_service(FIVE_MISTAKES)
    assert check("--format", "json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["good"] is False
    assert len(said["problems"]) == 5
    assert said["problems"][1] == {
        "file": "sidecar.yaml",
        "line": 6,
        "column": 3,
        "message": "unknown key `conect_timeout`; did you mean `connect_timeout`?",
        "severity": "error",
    }


def test_json_of_a_good_configuration_has_its_warnings(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration.write_policy(f"{ISSUER}rules: [{{name: a, match: {{}}}}]\n")
    assert check("--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["good"], [one["severity"] for one in said["problems"]]) == (True, ["warning"])


def test_a_service_file_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check() == 1
    assert capsys.readouterr().out == "sidecar.yaml:0:0: cannot be read: No such file or directory\n"


def test_the_shipped_configuration_passes_as_a_command_of_its_own() -> None:
    """What README promises, in a process of its own; the key is the one that `make install` makes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "config/make_tls.py"], cwd=ROOT, check=True, env=environment)
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "check", "--config", "config/sidecar.yaml"],
        cwd=ROOT, check=False, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "config/sidecar.yaml: good: " in done.stderr


def test_a_reader_that_goes_away_is_no_traceback(configuration: Configuration) -> None:
    rules = "".join(f"  - {{name: r{n}, match: {{}}, public: true}}\n" for n in range(3000))
    configuration.write_policy(f"rules:\n{rules}")
    command = f"{sys.executable} -m sidecar check --config sidecar.yaml | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True, env=environment)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("policies/policy.yaml:2:")


def test_what_is_otherwise_than_in_an_earlier_version_is_told_beside_the_problems(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("--upgrading-from", "0.1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [
        one for one in lines if one.startswith("since 0.1: ") and one.endswith("(docs/upgrading.md#host)")
    ]
    assert check("--upgrading-from", "0.1", "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert {"host", "redirects"} <= {one["name"] for one in document["changes"]}


def test_an_earlier_version_that_is_not_known_is_wrong_usage(
    configuration: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        check("--upgrading-from", "9.9")
    assert "choose from" in capsys.readouterr().err
