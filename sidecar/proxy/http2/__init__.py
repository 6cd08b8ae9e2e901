"""HTTP/2 (RFC 9113), what both directions share: the engine that reads and writes frames."""
