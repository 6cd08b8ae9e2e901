"""Deciding about requests that are no accesses to a protected resource: those to an authorization server's own
endpoints (RFC 8705 §2). They come over the same listeners and leave over the same pool.
"""
