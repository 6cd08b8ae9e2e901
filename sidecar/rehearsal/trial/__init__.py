"""`sidecar test`: policy unit tests. Keys, tokens and certificates are made here; the decision is the real one."""
