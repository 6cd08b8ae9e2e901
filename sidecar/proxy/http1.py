"""HTTP/1.1 on the wire: the only module that knows the parser (llhttp through httptools)."""

from httptools import HttpRequestParser

__all__ = ["HttpRequestParser"]
