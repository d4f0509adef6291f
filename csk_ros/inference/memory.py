"""Memory that nobody uses any more, back to the machine."""

from __future__ import annotations

import ctypes
import gc

import torch


def release_unused_memory() -> None:
    """Give freed memory back to the operating system and to other processes on the CUDA device.

    glibc keeps what is freed, in a pool for each thread that ever allocated: where engines are built in one
    thread and then in another, every pool keeps an engine's worth of it. Takes tens of milliseconds.
    """
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch lacks it
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries lack it
    if trim:
        trim(0)
