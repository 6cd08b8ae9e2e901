"""Each target on the kept inputs and, by hypothesis, on mutations of its seeds and on anything at all."""

import importlib
import random
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.decision.strict import Malformed, json_object
from tests.fuzz.corpus import FOLDER, LONGEST, kept, name_of
from tests.fuzz.explore import explored
from tests.support.lanes import WHOLE

EXAMPLES = 2000 if WHOLE else 100
MODULES = [
    importlib.import_module(f"tests.fuzz.{file.stem}")
    for file in sorted(Path(__file__).parent.glob("fuzz_*.py"))
]


@st.composite
def mutations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed, or two of them spliced, with some bytes replaced, removed or added."""
    data = bytearray(draw(st.sampled_from(seeds)))
    if draw(st.booleans()):
        other = draw(st.sampled_from(seeds))
        data = data[: draw(st.integers(0, len(data)))] + other[draw(st.integers(0, len(other))) :]
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 4, len(data))))
        data[start:end] = draw(st.binary(max_size=4))
    return bytes(data)


def test_every_decoder_has_a_target() -> None:
    names = {module.__name__.rpartition("_")[2] for module in MODULES}
    assert names >= {
        "strict",
        "credentials",
        "jws",
        "claims",
        "path",
        "request",
        "thumbprint",
        "policy",
        "proof",
    }
    assert names >= {"certificate", "field", "jwks", "introspection", "form", "name", "http2"}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_kept_inputs_give_a_value_or_a_refusal(module: ModuleType) -> None:
    inputs = kept(module)
    assert inputs, "explore it: make fuzz TIME=60"
    assert all(len(data) <= LONGEST for data in inputs)
    for data in inputs:
        module.target(data)


def test_kept_inputs_belong_to_a_target() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == {name_of(module) for module in MODULES}


def test_exploring_keeps_what_is_new_and_reports_what_should_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.fuzz.corpus.FOLDER", tmp_path)
    module = ModuleType("tests.fuzz.fuzz_sample")
    reached: list[bytes] = []

    def target(data: bytes) -> None:
        reached.append(data)
        if data.startswith(b"%"):
            raise RuntimeError("a fault")
        with suppress(Malformed):
            json_object(data)

    vars(module).update(SEEDS=[b"{}", b'{"a":1}'], target=target)
    chance = random.Random(1)
    while explored(module, 0.05, chance):
        assert len(reached) < 100_000
    inputs = kept(module)
    assert any(data.startswith(b"%") for data in inputs)
    assert len(inputs) > 1, "new steps were kept before"
    assert "neither a value nor a refusal" in capsys.readouterr().out


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_target_gives_a_value_or_a_refusal(module: ModuleType) -> None:
    for seed in module.SEEDS:
        module.target(seed)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(mutations(module.SEEDS), st.binary(max_size=200)))
    def campaign(data: bytes) -> None:
        module.target(data)

    campaign()
