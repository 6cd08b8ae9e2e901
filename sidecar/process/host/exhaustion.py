"""Errors of the system that mean that this process has run out of a resource."""

import errno
from typing import Final

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Numbers of an `OSError` that say nothing about the file or peer."""
