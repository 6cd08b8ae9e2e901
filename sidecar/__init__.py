"""Enforces certificate-bound OAuth access tokens (RFC 8705) in front of unmodified APIs."""

__version__ = "0.2.0"
