"""Server trust of the sidecar as a client: the only place that makes TLS contexts for the upstream and for issuers."""
