"""Gives the pages of free memory back to the kernel where the next HTTP/2 session will be allocated.

Theory of operation. libnghttp2 allocates a buffer of 16 kB with each session, in which it assembles a frame. Most
frames need a few hundred bytes of it. The C library takes the buffer from memory that handshakes have just freed, in
which every page is resident. Therefore the free blocks of that size which the C library would use first are allocated
here, their pages are given back, and the blocks are freed. A session that is then allocated in them uses only the
pages that it writes to: an idle connection needs 12 kB less. If the C library chooses another block, only the saving
is lost. The content of allocated memory is never touched.
"""

import ctypes
import mmap
from collections.abc import Callable
from typing import Any, Final

_BLOCK: Final = 20480
"""Bytes: the buffer (16,394), and what a session allocates before it (some 4,000)."""
_BLOCKS: Final = 3
"""Number of blocks: the allocations of a session may split the first ones."""
_PAGE: Final = mmap.PAGESIZE


def nothing() -> None:
    """What is done on other systems."""


def release_by(library: Any, advice: int | None) -> Callable[[], None]:
    """The function that calls this C library, with the kernel's number for MADV_DONTNEED; `nothing` without either."""
    if advice is None or not hasattr(library, "madvise"):
        return nothing
    allocate, free, advise = library.malloc, library.free, library.madvise
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    free.restype, free.argtypes = None, [ctypes.c_void_p]
    advise.restype, advise.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def release() -> None:
        blocks = [block for block in [allocate(_BLOCK) for _ in range(_BLOCKS)] if block]
        for block in blocks:
            # Whole pages within the block: the others hold what the C library writes around it.
            begin, end = -(-block // _PAGE) * _PAGE, (block + _BLOCK) // _PAGE * _PAGE
            if begin < end:
                advise(begin, end - begin, advice)
        for block in blocks:
            free(block)

    return release


release_free_pages: Final = release_by(ctypes.CDLL(None), getattr(mmap, "MADV_DONTNEED", None))
"""Call it immediately before a session is created."""
