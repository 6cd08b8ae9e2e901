"""What can be said of the image without building it. Building it is `make test-image`."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_wheel_comes_with_a_hash_from_a_lock_file() -> None:
    installs = re.findall(r"pip\b[^&]*? install [^&]*", DOCKERFILE)
    assert len(installs) == 3
    assert [one for one in installs if "--require-hashes" not in one and "--no-index" not in one] == []
    for lock in ("requirements.lock", "requirements-build.lock"):
        pinned = re.findall(r"^[a-z0-9-]+==\S+", (ROOT / lock).read_text(), re.MULTILINE)
        assert len(pinned) > 3
        assert len(pinned) <= (ROOT / lock).read_text().count("--hash=sha256:")


def test_the_final_stage_only_copies() -> None:
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    instructions = re.findall(r"^([A-Z]+) ", final, re.MULTILINE)
    assert "RUN" not in instructions
    assert "HEALTHCHECK" not in instructions
    assert instructions.count("COPY") == 1
    assert "USER 65532:65532" in final
    assert "STOPSIGNAL SIGTERM" in final


def test_the_command_is_on_the_path_of_whoever_enters_the_container() -> None:
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (program,) = re.findall(r'^ENTRYPOINT \["(.+)/sidecar"\]$', final, re.MULTILINE)
    assert re.search(rf'^ENV PATH="{program}:\$PATH"', final, re.MULTILINE)


def test_only_what_the_image_is_made_of_is_sent_to_the_builder() -> None:
    patterns = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in {"", "#"}
    ]
    assert patterns[0] == "*"
    allowed = {line[1:] for line in patterns if line.startswith("!")}
    copied = set(
        re.findall(r"\S+", " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)))
    )
    assert copied == allowed
