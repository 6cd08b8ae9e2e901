"""Stores of used DPoP proofs that several processes share (RFC 9449 §11.1)."""
