"""A gRPC call to an API that is reached over HTTP/1.1, which has no gRPC: decided as usual, then refused."""

from sidecar.decision.denial import Reason
from sidecar.decision.permit import Permit
from sidecar.proxy.exchange.exchange import Exchange


class UnspokenCall(Exchange):
    """A caller learns that the API does not speak gRPC only if the call is permitted; nothing is forwarded."""

    def _forward(self, permit: Permit) -> None:
        self.fail(Reason.GRPC_UNSUPPORTED, f"the API is asked in {self._serving.upstream.protocol}")
