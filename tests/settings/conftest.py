"""Configurations to load: the shipped one, copied to a folder of its own, and a small one to change."""

import runpy
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.configuration import Configuration
from tests.support.pki import Pki

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A fresh clone's `config/sidecar.yaml`, without the key that `make install` makes."""
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder, ignore=shutil.ignore_patterns("tls", "__pycache__"))
    return folder / "sidecar.yaml"


@pytest.fixture
def installed(shipped: Path) -> Path:
    """`config/sidecar.yaml` after `make install`."""
    runpy.run_path(str(shipped.parent / "make_tls.py"), run_name="__main__")
    return shipped


@pytest.fixture
def configuration(pki: Pki) -> Iterator[Configuration]:
    """A small good configuration, under a path so short that messages show it whole."""
    with tempfile.TemporaryDirectory() as folder:
        yield Configuration.create(Path(folder), pki)
