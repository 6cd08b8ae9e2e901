"""The part in front of an authorization server: its endpoints, its clients and the tokens that it issues (RFC 8705
§2).
"""
