"""What is asked of proofs of possession (RFC 9449). Not compiled, for the reason that `confirmable` gives."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """What is asked of proofs for the tokens of one issuer. Times are seconds."""

    window: int = 60
    """How long ago a proof may have been made."""
    future: int = 30
    """How far ahead of ours the clock of its maker may be."""
    algorithms: frozenset[str] = frozenset({"ES256", "PS256", "EdDSA"})
    requires_nonce: bool = False

    @property
    def algs(self) -> str:
        """For `algs` of a challenge (RFC 9449 §7.1)."""
        return " ".join(sorted(self.algorithms))


PROOF_POLICY: Final = ProofPolicy()
"""Unless the configuration says something else."""
