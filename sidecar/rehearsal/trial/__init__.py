"""`sidecar test`: policy unit tests. Keys, tokens and certificates are generated; the decision is the real one."""
