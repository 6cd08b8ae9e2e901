"""Watches that run while the process serves: certificates, issuers, upstream, a way past the sidecar, end dates."""
