"""What can be said of a release without compiling: source distribution, chart, SBOMs, checksums, README, versions.

Wheels and image are looked at by `make test-release`.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import sidecar
from hatch_build import ReadmeHook

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(240)  # it starts a dozen programs
VERSION = sidecar.__version__
SDIST = f"bound_token_sidecar-{VERSION}.tar.gz"
CHART = f"bound-token-sidecar-chart-{VERSION}.tgz"


def build(folder: Path, **environment: str) -> Path:
    """Source distribution and chart of this tree."""
    venv = Path(sys.prefix)
    done = subprocess.run(
        [ROOT / ".ci" / "release", os.path.relpath(venv, ROOT), folder, "sdist", "chart"],
        check=False, capture_output=True, text=True,
        env={**os.environ, "RELEASE_WORK": f"{folder}-work", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("first"))


def sums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_building_again_with_another_clock_zone_and_mask_gives_the_same_bytes(
    dist: Path, tmp_path: Path
) -> None:
    again = build(tmp_path, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="7")
    assert sums(again) == sums(dist)


def test_the_checksums_are_those_of_every_file(dist: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dist, check=False, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"")
    named = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert named == {file.name for file in dist.iterdir()} - {"SHA256SUMS"}
    assert len(named) == 4


def test_the_page_says_how_to_sign_and_to_verify(dist: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "release.md").read_text("utf-8")
    commands = re.findall(r"^\$ (.*)$", page, re.MULTILINE)
    make_key = re.findall(r"`(openssl genpkey [^`]*)`", page)
    shutil.copytree(dist, tmp_path / "dist")
    for command in (*make_key, *commands):
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert len(commands) == 4
    (tmp_path / "dist" / "SHA256SUMS").write_text("forged")
    forged = subprocess.run(["sh", "-c", commands[2]], cwd=tmp_path, check=False, capture_output=True)
    assert forged.returncode != 0


def members(archive: Path) -> dict[str, bytes]:
    """Name without the first folder → content."""
    with tarfile.open(archive) as opened:
        files = {one.name.partition("/")[2]: opened.extractfile(one) for one in opened if one.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_the_source_distribution_has_what_a_build_needs_and_nothing_of_this_machine(dist: Path) -> None:
    files = members(dist / SDIST)
    needed = {
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "LICENSE",
        "requirements.lock",
        "sidecar/__init__.py",
    }
    assert needed <= files.keys()
    assert [name for name in files if name.startswith(("build/", ".venv/", "config/tls/"))] == []
    assert [name for name, content in files.items() if str(ROOT).encode() in content] == []


def test_the_chart_package_is_the_chart(dist: Path) -> None:
    files = members(dist / CHART)
    chart = ROOT / "helm" / "bound-token-sidecar"
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=chart, check=True, capture_output=True, text=True
    ).stdout.split()
    assert files == {name: (chart / name).read_bytes() for name in tracked if name != ".helmignore"}


@pytest.mark.parametrize(("name", "parts"), [(SDIST, 20), (CHART, 1)])
def test_every_part_has_an_sbom_that_is_valid(name: str, parts: int, dist: Path) -> None:
    text = (dist / f"{name}.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["component"]["name"] == "bound-token-sidecar"
    assert document["metadata"]["component"]["version"] == VERSION
    assert len(document["components"]) >= parts
    assert str(ROOT) not in text


def test_the_sbom_names_what_the_lock_file_pins(dist: Path) -> None:
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    document = json.loads((dist / f"{SDIST}.cdx.json").read_text())
    assert {one["name"]: one["version"] for one in document["components"]} == pinned


def metadata(folder: Path) -> str:
    return members(folder / SDIST)["PKG-INFO"].decode()


def test_on_a_package_index_the_pictures_and_links_of_the_readme_lead_somewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIDECAR_PROJECT_URL", "https://forge.example/bank/sidecar/")
    made: dict[str, Any] = {}
    ReadmeHook(str(ROOT), {}).update(made)
    text = made["readme"]["text"]
    targets = re.findall(r'\]\(([^)#][^)]*)\)|(?:src|srcset)="([^"]*)"', text)
    assert len(targets) > 15
    assert [one for pair in targets for one in pair if one and not one.startswith("https://")] == []
    assert "https://forge.example/bank/sidecar/raw/HEAD/docs/images/demo.png" in text
    assert made["urls"]["Repository"] == "https://forge.example/bank/sidecar"


@pytest.mark.parametrize(
    "value",
    ["forge.example/bank", "http://forge.example/x", "https://", "https://forge.example/a b", "https://x/?a"],
)
def test_a_place_of_the_repository_that_is_no_https_url_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_PROJECT_URL", value)
    with pytest.raises(
        ValueError, match=r"SIDECAR_PROJECT_URL is .*: write where the repository is, https://"
    ):
        ReadmeHook(str(ROOT), {}).update({})


def test_where_nobody_says_where_the_repository_is_no_place_is_made_up(dist: Path) -> None:
    assert not re.search(r"^Project-URL:", metadata(dist), re.MULTILINE)
    assert "Author: The bound-token-sidecar maintainers" in metadata(dist)


def test_the_readme_counts_what_the_demo_installs() -> None:
    pinned = re.findall(r"^[a-z0-9-]+==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert f"installs {len(pinned)} packages" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "product").read_text().count("-r requirements.lock") == 1


def test_http2_needs_no_library_and_older_install_commands_still_work(dist: Path) -> None:
    assert "Provides-Extra: http2" in metadata(dist)
    assert not re.search(r"extra == .http2", metadata(dist))
    assert not re.search(r"^(ngh2|h2|hpack)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


def test_hosted_ci_runs_what_a_maintainer_runs_and_may_write_nothing() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"].split()[-1] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert workflow["permissions"] == {"contents": "read"}


def test_one_version_is_everywhere() -> None:
    chart = yaml.safe_load((ROOT / "helm" / "bound-token-sidecar" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
    for page in ("kubernetes.md", "release.md"):
        named = set(re.findall(r"bound-token-sidecar:(\d+\.\d+\.\d+)", (ROOT / "docs" / page).read_text()))
        assert named <= {VERSION}, page
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("wanted", "parts"), [((), ""), (("ONLY=sdist chart",), " sdist chart")], ids=["everything", "some parts"]
)
def test_make_release_asks_for_the_parts_that_it_is_told(wanted: tuple[str, ...], parts: str) -> None:
    of_another_make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VENV", "DIST", "ONLY"}
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "release", *wanted],
        cwd=ROOT, check=True, capture_output=True, text=True,
        env={name: value for name, value in os.environ.items() if name not in of_another_make},
    )  # fmt: skip
    assert done.stdout.rstrip().endswith(f".ci/release .venv dist{parts}")
