"""The image as built (`make test-image`): what is in it, and one request served from inside it.

The file's name keeps it out of `make test`: it needs root, buildah and the image. That a second build gives the same
image is for `make test-release`, which builds it again.
"""

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import Child
from tests.support.recorder import Recorder
from tests.support.sidecar import Sidecar

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLACE = ROOT / "build" / "image"
TAG = "localhost/bound-token-sidecar:test"
USER = 65532
PROGRAM = "/opt/sidecar/bin/sidecar"

pytestmark = pytest.mark.timeout(300)


def buildah(*arguments: str) -> str:
    store = ["--root", f"{PLACE}/storage", "--runroot", f"{PLACE}/run", "--storage-driver", "vfs"]
    done = subprocess.run(["buildah", *store, *arguments], check=True, capture_output=True, text=True)
    return str(done.stdout).strip()


def inspected(tag: str = TAG) -> dict[str, Any]:
    found = json.loads(buildah("inspect", "--type", "image", tag))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The image's file system."""
    container = buildah("from", TAG)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)


class ImageSidecar(Sidecar):
    """The sidecar of the image, in its own file system, on a configuration folder of ours."""

    root: Path

    def spawn(self) -> Child:
        # As the kubelet lays a Secret out: root's, and for root's group to read.
        for path in [self.folder, *self.folder.rglob("*")]:
            path.chmod(0o750 if path.is_dir() else 0o440)
        enter = ["unshare", "--mount", HERE / "enter.sh", self.root, self.folder, f"{USER}:0"]
        return Child(
            [*enter, PROGRAM, "run", "--config", "/etc/sidecar/sidecar.yaml"], self.log, output=self.output
        )


def test_one_request_is_served_and_one_refused_from_inside_the_image(
    root: Path, tmp_path: Path, pki: Pki, signing_key: SigningKey
) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    with Recorder() as upstream:
        # Its token among the temporary files, as by default: the configuration cannot be written.
        service = {"admin": {"token_file": None}}
        one = ImageSidecar(folder, pki, upstream.url, keys=[signing_key], service=service)
        one.root = root
        with one, one.connect(pki.client) as wire:
            served = wire.request("GET", "/accounts/1", token=signing_key.token(pki.client))
            refused = wire.request("GET", "/accounts/1", token=signing_key.token(pki.other_client))
            pid = one.process.pid
            status = Path(f"/proc/{pid}/status").read_text()
            memory = one.process.memory().now
            assert one.stop() == 0
        assert (served.status, refused.status, len(upstream.seen)) == (200, 401, 1)
    assert re.search(rf"^Uid:\s+{USER}\s+{USER}\s", status, re.MULTILINE)
    assert re.search(r"^Gid:\s+0\s+0\s", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    print(f"\none request served from inside the image, one refused; {memory / 1e6:.0f} MB resident")


def test_the_image_says_how_to_run_it() -> None:
    config = inspected()["OCIv1"]["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == [PROGRAM]
    assert config["Cmd"] == ["run", "--config", "/etc/sidecar/sidecar.yaml"]
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"8443/tcp", "9902/tcp"}
    labels = {name.rpartition(".")[2] for name in config["Labels"] if name.startswith("org.opencontainers.")}
    assert labels == {"title", "description", "licenses", "version", "revision"}
    assert not inspected()["Docker"]["config"].get("Healthcheck")


def test_it_is_built_of_exactly_what_the_lock_file_names(root: Path) -> None:
    packages = next((root / "opt/sidecar/lib").glob("python3.*/site-packages"))
    installed = {path.name.removesuffix(".dist-info") for path in packages.glob("*.dist-info")}
    locked = re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    wanted = {f"{name.replace('-', '_')}-{version}" for name, version in locked}
    assert {normal(one) for one in installed} - {normal(one) for one in wanted} == {"bound_token_sidecar"}
    assert {normal(one) for one in wanted} <= {normal(one) for one in installed}


def normal(name: str) -> str:
    distribution, _, version = name.rpartition("-")
    plain = re.sub(r"[-_.]+", "_", distribution).lower()
    return plain if plain == "bound_token_sidecar" else f"{plain}-{version}"


def test_nothing_of_ours_is_writable_or_belongs_to_the_user_it_runs_as(root: Path) -> None:
    for path in (root / "opt").rglob("*"):
        found = path.lstat()
        assert (found.st_uid, found.st_gid) == (0, 0), path
        assert stat.S_ISLNK(found.st_mode) or found.st_mode & (stat.S_IWOTH | stat.S_ISUID) == 0, path


def test_no_key_no_package_installer_and_no_source_tree_came_along(root: Path) -> None:
    names = {path.name for path in (root / "opt/sidecar/bin").iterdir()}
    assert not [name for name in names if name.startswith("pip")]
    assert not (root / "src").exists()
    assert [path for path in (root / "opt").rglob("*") if path.suffix in {".pem", ".key", ".lock"}] == []
    assert list((root / "etc/sidecar").iterdir()) == []


def test_the_size_is_what_the_documentation_promises(root: Path) -> None:
    whole, ours = size(root), size(root / "opt/sidecar")
    print(f"\nthe image: {whole / 1e6:.0f} MB on disk, of which the sidecar {ours / 1e6:.0f} MB")
    assert ours < 80e6


def size(folder: Path) -> int:
    """Bytes of the files under a folder, each inode once."""
    found = {(one.st_dev, one.st_ino): one.st_size for one in (path.lstat() for path in folder.rglob("*"))}
    return sum(found.values())
