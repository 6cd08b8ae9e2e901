"""hypothesis runs each target on its seeds, on mutations of them, and on anything at all."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    assert names >= {"strict", "credentials", "jws", "claims", "path", "request", "thumbprint", "policy"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition("_")[2])
def test_target_gives_a_value_or_a_refusal(module: ModuleType) -> None:
    for seed in module.SEEDS:
        module.target(seed)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(mutations(module.SEEDS), st.binary(max_size=200)))
    def campaign(data: bytes) -> None:
        module.target(data)

    campaign()
