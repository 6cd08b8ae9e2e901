"""Access to issuers: their keys and their introspection, fetched, cached and limited.

`issuers` holds all issuers, `assembly` makes one. `jwks` keeps the keys that `origin` fetches and `metadata` locates.
`introspection` asks about tokens, behind a `circuit_breaker` and fair `shares`. All requests go through `http`, with
the files of `trust`.
"""
