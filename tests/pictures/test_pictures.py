"""The pictures of the documentation: one script makes them all, and they are of the page as it is now."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import origin

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "images"
WIDTHS = {
    "admin-light.png": 1280,
    "admin-dark.png": 1280,
    "admin-narrow.png": 390,
    "admin-narrow-dark.png": 390,
}
SHOWN = re.compile(r"images/([\w.-]+\.png)")

pytestmark = pytest.mark.timeout(400)  # Chromium may have to be installed first


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the script, short of traffic."""
    folder = tmp_path_factory.mktemp("pictures")
    command = [sys.executable, "-m", "tests.pictures", str(folder), "--seconds", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=390, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_picture_that_the_documents_show_is_made_by_the_script(made: Path) -> None:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    shown = {name for document in documents for name in SHOWN.findall(document.read_text())}
    assert shown == {file.name for file in made.iterdir()} == {file.name for file in COMMITTED.glob("*.png")}


def test_page_is_taken_whole_in_its_window(made: Path) -> None:
    for name, width in WIDTHS.items():
        found, height = origin.size(made / name)
        assert (name, found) == (name, width)
        assert height > 1500


def test_committed_pictures_show_what_is_drawn_now(made: Path) -> None:
    """Where this fails, the page or what the demo prints is another than in the pictures: `make pictures`."""
    for file in sorted(made.iterdir()):
        committed = COMMITTED / file.name
        assert (file.name, origin.source(committed)) == (file.name, origin.source(file))
        if file.name in WIDTHS:
            assert origin.size(committed)[0] == origin.size(file)[0]


def test_note_in_a_picture_is_read_back_and_leaves_the_picture(made: Path, tmp_path: Path) -> None:
    picture = made / "demo.png"
    origin.write(tmp_path / "again.png", picture.read_bytes(), "another")
    kept = [kind for kind, _ in origin.chunks(picture.read_bytes())]
    assert origin.source(tmp_path / "again.png") == "another"
    assert origin.size(tmp_path / "again.png") == origin.size(picture)
    assert sorted(kind for kind, _ in origin.chunks((tmp_path / "again.png").read_bytes())) == sorted(
        [*kept, b"tEXt"]
    )
