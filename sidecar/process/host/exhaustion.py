"""What the system says when it is this process that has run out, whatever there is to see."""

import errno
from typing import Final

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Numbers of an `OSError` that tell nothing of what was looked at."""
