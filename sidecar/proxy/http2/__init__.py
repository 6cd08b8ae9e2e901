"""HTTP/2 (RFC 9113): the engine that reads and writes frames, used towards clients and towards the upstream."""
