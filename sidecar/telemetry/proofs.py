"""Metrics of DPoP proofs, derived from the requests with reasons about proofs."""

from collections.abc import Iterator
from typing import Final

from sidecar.decision.confirmation import OF_PROOFS
from sidecar.decision.reason import Reason
from sidecar.telemetry.metrics import Metrics, Sample

ACCEPTED: Final = "accepted"
_NAME: Final = "sidecar_dpop_proofs_total"
_REASONS: Final = tuple(sorted(one.value for one in {*OF_PROOFS, Reason.REPLAY_UNKNOWN}))


def proof_samples(metrics: Metrics, accepted: int) -> Iterator[Sample]:
    """The number of accepted proofs, and the number of refused ones for each reason, including zeros.

    All reasons are shown from the first scrape: if a counter appeared only when needed, its first increase would be
    missed.
    """
    yield Sample(_NAME, (ACCEPTED,), accepted)
    refused = dict.fromkeys(_REASONS, 0.0)
    for (_, _, reason), count in metrics.counter("sidecar_requests_total").items():
        if reason in refused:
            refused[reason] += count
    for reason, count in refused.items():
        yield Sample(_NAME, (reason,), count)
