"""Authentication of a registered client by its certificate (RFC 8705 §2): pure, no clock, no I/O.

`token_request` is what a request claims, `method` how a registered client proves who it is, `registry` decides.
"""
