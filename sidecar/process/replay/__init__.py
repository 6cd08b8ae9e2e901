"""Where used DPoP proofs are remembered when more than one process must know of them (RFC 9449 §11.1)."""
