"""The client's certificate as told by a proxy that ended the client's TLS (RFC 9440), on listeners with such a source.

Theory of operation. `Proxies` says which peers may tell, by what they cannot choose themselves: the address of the TCP
connection, a certificate of their own, the user of a Unix socket. `ToldCertificates` reads the field and, with
`trust: ca`, verifies the chain, as one listener's settings say; a reload makes another. A `Hop` is one connection of a
proxy: it makes the presenter of each request on it, and keeps nothing by which one client could pass for another.
"""
