"""The data plane. `server` holds `listener`s; each accepts connections.

`client/` is one client connection with its wire, `exchange/` one request from its head to its record, `upstream/` the
connections to the API, `tls/` the TLS of clients. `configuration` has the settings of the data plane.
"""
