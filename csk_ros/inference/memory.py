"""Memory that nobody uses any more, back to the machine."""

from __future__ import annotations

import ctypes
import gc

import torch

_M_ARENA_MAX = -8  # of glibc's malloc.h


def share_one_pool() -> None:
    """Let threads that start from now on allocate from the pools that there are, one to three (glibc).

    Otherwise glibc has eight pools per core for threads, and each keeps what its threads have freed: a
    node that is activated again and again, with a new worker each time, grows by all of them.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option:
        set_option(_M_ARENA_MAX, 1)


def release_unused_memory() -> None:
    """Give freed memory back to the operating system and to other processes on the CUDA device.

    Takes tenths of a second. Whatever is in use afterwards, the modules of torch above all, the garbage
    collector looks at again only in the next call: its full rounds would stop every thread for 0.1 s.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch lacks it
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries lack it
    if trim:
        trim(0)
