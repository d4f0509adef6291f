from __future__ import annotations

import gc
import mmap
import platform
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from csk_ros.inference.memory import release_unused_memory


class _Ring:
    def __init__(self):
        self.self = self


def test_what_nobody_uses_is_freed_even_if_it_refers_to_itself():
    gc.disable()
    try:
        unused = weakref.ref(_Ring())
        assert unused() is not None
        release_unused_memory()
        assert unused() is None
    finally:
        gc.enable()


def test_what_is_in_use_is_looked_at_by_the_next_call_alone():
    ring = _Ring()
    unused = weakref.ref(ring)
    release_unused_memory()
    assert len(gc.get_objects()) < 1000  # the collector's rounds have nothing to do
    del ring
    gc.collect()
    assert unused() is not None
    release_unused_memory()
    assert unused() is None


_GLIBC_ONLY = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries have pools of their own"
)


@_GLIBC_ONLY
@pytest.mark.parametrize(("call", "pools"), [("share_one_pool()", {1}), ("None", set(range(2, 100)))])
def test_threads_share_one_pool(call, pools):
    program = f"""
import ctypes, threading
from csk_ros.inference.memory import share_one_pool
{call}
barrier = threading.Barrier(8)
def use():
    block = b"x" * 100_000
    barrier.wait()
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr.count("Arena ") in pools


@_GLIBC_ONLY
def test_memory_freed_in_another_thread_goes_back_to_the_machine():
    kept = []

    def use_and_free():
        blocks = [b"x" * (100_000 + index) for index in range(1000)]
        kept.append(
            blocks[-1]
        )  # the end of the thread's pool stays in use, so the pool cannot shrink by itself

    thread = threading.Thread(target=use_and_free)
    thread.start()
    thread.join()
    before = _resident_bytes()
    release_unused_memory()
    assert before - _resident_bytes() > 50_000_000


def _resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
