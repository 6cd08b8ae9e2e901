"""The client certificate: one whose private key somebody proved to hold."""

from sidecar.decision.certificate import AlternativeNames, Certificate, Unreadable

__all__ = ["AlternativeNames", "ClientCertificate", "Unreadable"]


class ClientCertificate(Certificate):
    """The end-entity certificate whose private key the client proved to hold in this connection's handshake.

    Made once per connection. The thumbprint is computed at once, the names only when a rule or the record asks.
    """

    __slots__ = ()
