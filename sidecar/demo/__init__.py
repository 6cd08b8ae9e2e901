"""A complete example on loopback: an issuer, an ordinary API, the sidecar, rightful clients and thieves."""
