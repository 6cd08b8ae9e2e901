"""A call of gRPC where the API is asked in HTTP/1.1, which has no gRPC: decided like any request, and then told so."""

from sidecar.decision.denial import Reason
from sidecar.decision.permit import Permit
from sidecar.proxy.exchange.exchange import Exchange


class UnspokenCall(Exchange):
    """Its caller has to be permitted to hear of the API what it does not speak; nothing is forwarded."""

    def _forward(self, permit: Permit) -> None:
        self.fail(Reason.GRPC_UNSUPPORTED, f"the API is asked in {self._serving.upstream.protocol}")
