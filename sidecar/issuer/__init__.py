"""Issuers as they are reached: their keys and their introspection, fetched, remembered and bounded.

`issuers` holds all, `assembly` makes one. `jwks` keeps the keys that `origin` names and `metadata` finds;
`introspection` asks about tokens, behind a `circuit_breaker` and fair `shares`. `http` is the one way out, under the
files of `trust`.
"""
