"""A whole release, and its parts built once more in another folder: run by `make test-release`, which builds both."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import sidecar
from hatch_build import COMPILED
from tests.image.check_image import inspected

ROOT = Path(__file__).parents[2]
FIRST, SECOND = (ROOT / "build" / "release" / name for name in ("first", "second"))
PYTHONS = re.findall(
    r"^3\.(\d+) ",
    subprocess.run([ROOT / ".ci" / "pythons"], check=True, capture_output=True, text=True).stdout,
    re.MULTILINE,
)
WHEELS = sorted(FIRST.glob("*.whl"))


def sums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_what_is_built_again_elsewhere_is_the_same() -> None:
    """Everything but the wheels for newer Pythons, and the image, which is compared below."""
    first, second = sums(FIRST), sums(SECOND)
    print(*(f"{digest} {name}" for name, digest in sorted(first.items())), sep="\n")
    second.pop("SHA256SUMS")
    assert len(second) == 6
    assert second == {name: first[name] for name in second}


def test_the_image_built_again_for_the_release_is_the_same_but_for_its_labels() -> None:
    """Two builds that share nothing but the base: each installs, compiles and copies everything (`--layers=false`).

    The first is that of `make test-image`, without the version and the commit that a release's labels have.
    """
    first, second = inspected(), inspected(f"localhost/bound-token-sidecar:{sidecar.__version__}")
    assert second["OCIv1"]["rootfs"] == first["OCIv1"]["rootfs"]
    told, untold = (one["OCIv1"]["config"].pop("Labels") for one in (second, first))
    assert second["OCIv1"]["config"] == first["OCIv1"]["config"]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    named = {"version": sidecar.__version__, "revision": commit.stdout.strip()}
    assert told == untold | {f"org.opencontainers.image.{name}": value for name, value in named.items()}
    assert told != untold


def test_everything_is_there_and_has_an_sbom() -> None:
    names = {file.name for file in FIRST.iterdir()}
    parts = {name for name in names if not name.endswith(".cdx.json")} - {"SHA256SUMS"}
    assert {f"{part}.cdx.json" for part in parts} == names - parts - {"SHA256SUMS"}
    kinds = sorted(re.sub(r".*(image).*|.*?(\.whl|\.tgz|\.tar\.gz)$", r"\1\2", part) for part in parts)
    assert kinds == [".tar.gz", ".tgz", *[".whl"] * len(PYTHONS), "image"]


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.name)
def test_a_wheel_has_every_hot_module_compiled_and_no_path_of_this_machine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        for module in COMPILED:
            stem = re.escape(module.removesuffix(".py").removesuffix("/__init__"))
            assert any(
                re.fullmatch(rf"sidecar/{stem}(/__init__)?\.cpython-\S+\.so", name) for name in names
            ), module
        assert [name for name in names if str(ROOT).encode() in opened.read(name)] == []


def test_there_is_a_wheel_for_the_oldest_and_the_newest_python() -> None:
    assert sorted(re.findall(r"-cp3(\d+)-", " ".join(wheel.name for wheel in WHEELS))) == sorted(PYTHONS)


@pytest.mark.parametrize("file", sorted(FIRST.glob("*.cdx.json")), ids=lambda file: file.name)
def test_every_sbom_is_valid(file: Path) -> None:
    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = json.loads(text)["components"]
    print(f"{file.name}: {len(components)} components")
    assert len(components) >= (1 if "chart" in file.name else 20)
    assert str(ROOT) not in text


def test_the_image_is_an_oci_archive_that_can_be_loaded(tmp_path: Path) -> None:
    archive = next(FIRST.glob("*-image-*.tar"))
    with tarfile.open(archive) as opened:
        layout = json.loads((opened.extractfile("./oci-layout") or pytest.fail("no layout")).read())
    assert layout == {"imageLayoutVersion": "1.0.0"}
    store: list[str | Path] = [
        "buildah",
        "--root",
        tmp_path / "root",
        "--runroot",
        tmp_path / "run",
        "--storage-driver",
        "vfs",
    ]
    done = subprocess.run(
        [*store, "pull", "--quiet", f"oci-archive:{archive}"], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("compiler", "build"),
    [({}, "compiled"), ({"CC": "/bin/false"}, "interpreted")],
    ids=["with a C compiler", "with a compiler that fails"],
)
def test_pip_install_of_the_sources_compiles_where_it_can_and_says_which_it_became(
    compiler: dict[str, str], build: str, tmp_path: Path
) -> None:
    """As a user does it: an empty environment of the oldest Python, its own pip, build isolation, no settings."""
    oldest = subprocess.run(
        [ROOT / ".ci" / "pythons"], check=True, capture_output=True, text=True
    ).stdout.split()[1]
    subprocess.run([oldest, "-m", "venv", tmp_path / "empty"], check=True)
    unset = {"SIDECAR_COMPILE", "CC", "PYTHONPATH", "PYTHONSAFEPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in unset} | compiler
    pip: list[str | Path] = [
        tmp_path / "empty" / "bin" / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
    ]
    (sources,) = FIRST.glob("*.tar.gz")
    done = subprocess.run(
        [*pip, "install", "--no-cache-dir", sources],
        cwd=tmp_path, check=False, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    program: list[str | Path] = [tmp_path / "empty" / "bin" / "sidecar"]
    said = subprocess.run(
        [*program, "--version"], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout
    assert f"({build}" in said
    print(said)
    played = subprocess.run(
        [*program, "demo", "--check"], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert played.returncode == 0, played.stdout + played.stderr
