"""Keeps the memory that a training step frees for the next step, by settings of the C library.

By default glibc gives every large block back to the system when it is freed and takes it anew, empty, page by
page. Maps of images are such blocks, and a convolutional tower spent two fifths of its time on a CPU with
those pages (`docs/experiments.md`).
"""

from __future__ import annotations

import ctypes
import platform

# of malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGEST_INT, _AT_A_TIME = 2**31 - 1, 1 << 28


def keep_freed() -> bool:
    """Lets this process keep what it frees, until it ends. Returns whether its C library can."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _LARGEST_INT, _TOP_PAD: _AT_A_TIME}
    return all(library.mallopt(name, value) == 1 for name, value in settings.items())
