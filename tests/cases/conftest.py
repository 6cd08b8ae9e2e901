"""Conversations for the cases of the data plane."""

from tests.proxy.conftest import converse, talk

__all__ = ["converse", "talk"]
