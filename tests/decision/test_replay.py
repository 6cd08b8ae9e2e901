from itertools import count

import pytest

from sidecar.decision.proof import Claim
from sidecar.decision.replay import Rehearsal, ReplayMemory, ReplayUnknown

KEY = b"k" * 32


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def claim(jti: str = "a", key: bytes = KEY, made_at: float = 1000, lifetime: float = 90) -> Claim:
    return Claim(key, jti, made_at, lifetime)


def unknown(memory: ReplayMemory, of: Claim) -> str:
    with pytest.raises(ReplayUnknown) as caught:
        memory.claim(of)
    return caught.value.why


def test_proof_is_claimed_once(clock: Clock) -> None:
    memory = ReplayMemory(b"digest", clock)
    assert memory.claim(claim())
    assert not memory.claim(claim())
    assert len(memory) == 1


def test_whoever_only_asks_claims_nothing() -> None:
    rehearsal = Rehearsal()
    assert [rehearsal.claim(claim()), rehearsal.claim(claim())] == [True, True]


def test_same_jti_of_another_key_is_another_proof(clock: Clock) -> None:
    memory = ReplayMemory(b"digest", clock)
    assert memory.claim(claim())
    assert memory.claim(claim(key=b"x" * 32))
    assert memory.claim(claim("b"))
    assert memory.claim(claim("\ud800"))


def test_proof_is_remembered_as_long_as_it_could_pass(clock: Clock) -> None:
    memory = ReplayMemory(b"digest", clock)
    memory.claim(claim())
    clock.now += 90
    assert not memory.claim(claim())
    clock.now += 1
    assert memory.claim(claim("b", made_at=1090))
    assert len(memory) == 1


def test_longest_lifetime_counts_for_all(clock: Clock) -> None:
    memory = ReplayMemory(b"digest", clock)
    memory.claim(claim(lifetime=300))
    memory.claim(claim("b"))
    clock.now += 200
    assert not memory.claim(claim(lifetime=300))
    assert not memory.claim(claim("b"))


def test_what_was_forgotten_is_not_believed_again_when_the_clock_is_set_back(clock: Clock) -> None:
    memory = ReplayMemory(b"digest", clock)
    memory.claim(claim())
    clock.now += 91
    memory.claim(claim("later", made_at=1091))
    for jti in ("a", "never seen"):
        assert not memory.claim(claim(jti))


def test_full_memory_refuses_and_forgets_nothing(clock: Clock) -> None:
    memory = ReplayMemory(b"digest", clock, entries=16)
    for at in range(16):
        assert memory.claim(claim(key=bytes([at]) * 32))
    assert unknown(memory, claim("one more")) == "full"
    assert not memory.claim(claim(key=bytes(32)))
    clock.now += 91
    assert memory.claim(claim("one more", made_at=1091))


def test_one_key_fills_no_more_than_its_share_and_harms_no_other(clock: Clock) -> None:
    memory = ReplayMemory(b"digest", clock, entries=80)
    for at in range(10):
        assert memory.claim(claim(str(at)))
    assert unknown(memory, claim("one more")) == "too many of one key"
    assert memory.claim(claim(key=b"x" * 32))
    clock.now += 91
    assert memory.claim(claim("again", made_at=1091))


def test_forgetting_takes_its_turns(clock: Clock) -> None:
    """A second with very many proofs does not stop the loop while it is forgotten."""
    memory = ReplayMemory(b"digest", clock)
    for at in range(2500):
        memory.claim(claim(str(at)))
    clock.now += 91
    sizes = []
    for at in count():
        memory.claim(claim(f"later {at}", made_at=1091))
        sizes.append(len(memory))
        if sizes[-1] == at + 1:
            break
    assert sizes == [1501, 502, 3]


def test_half_a_million_proofs_of_as_many_keys_take_less_than_60_megabytes(clock: Clock) -> None:
    memory = ReplayMemory(b"digest", clock)
    for at in range(500_000):
        memory.claim(Claim(at.to_bytes(32, "big"), "jti", 1000 + at % 90, 90))
    assert len(memory) == 500_000
    assert memory.size <= 60e6, f"{memory.size / 1e6:.1f} MB"
