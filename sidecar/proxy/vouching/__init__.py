"""The client's certificate as forwarded by a proxy that terminated the client's TLS (RFC 9440), on listeners with
such a source.

Theory of operation. `Proxies` decides which peers may forward certificates, by properties that they cannot choose:
the address of the TCP connection, their own certificate, the user of a Unix socket. `ToldCertificates` reads the
field and, with `trust: ca`, verifies the chain; it belongs to one listener's settings, and a reload makes another. A
`Hop` is one connection of a proxy. It makes the presenter of each request on it, and keeps nothing by which one
client could be taken for another.
"""
