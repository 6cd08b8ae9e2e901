"""One client connection: TCP, TLS, and the requests that come over it."""
