"""A whole world on loopback: an issuer, an ordinary API, the sidecar, and clients rightful and otherwise."""
