"""A complete example on loopback: an issuer, an ordinary API, the sidecar, legitimate clients and attackers."""
