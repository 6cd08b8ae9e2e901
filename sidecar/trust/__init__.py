"""Whom we trust when we are the client: the one place that makes TLS contexts for the upstream and for issuers."""
