"""What the kernel and the C library are told about this process, so that pixels stay where they can be destroyed.

``protect`` is called once, before the first picture. Nothing here can be switched off by a setting.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

PR_SET_DUMPABLE: Final = 4  # linux/prctl.h
M_PERTURB: Final = -6  # malloc.h
NO_CACHE: Final = "glibc.malloc.tcache_count=0"
ALLOCATOR: Final = ("PYTHONMALLOC", "malloc")  # for Python's own blocks, too, up to 512 bytes, which it else keeps for itself
FREED: Final = 0xFF  # what memory is filled with when it is freed; its complement, 0, when it is handed out
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # asm-generic/mman.h
LOCK_LIMIT: Final = "LimitMEMLOCK=infinity"

Locked = Literal["locked", "no swap", "may be swapped"]


@dataclass(frozen=True, slots=True)
class Protection:
    """What this system has granted.

    Attributes:
        no_core: There is no core dump: its size is limited to 0, and the process is not dumpable.
        overwritten: The C library overwrites memory when it is freed, Python's own blocks included.
        memory: Whether a page with pixels can get to a swap.
    """

    no_core: bool
    overwritten: bool
    memory: Locked

    def complaints(self) -> list[str]:
        """What is missing here, and what to do; empty when nothing is. Whether memory is locked depends on who asks."""
        said = []
        if not self.no_core:
            said.append("this kernel does not let a process forbid its core dump; run a Linux kernel")
        if not self.overwritten:
            said.append(
                "memory that is freed is not overwritten, so parts of pictures stay there until it is used again; use a system "
                "with glibc, such as Raspberry Pi OS, and start Python without -I and -E, with which it heeds no PYTHONMALLOC"
            )
        return said


def protect(*, pixels: bool) -> Protection:
    """No core dumps, no reading by other processes of this user; and where there are pixels, no remains and no swap.

    Memory that is freed is overwritten by glibc itself (``mallopt`` with ``M_PERTURB``): the libraries that decode, scale and
    convert pictures use buffers of their own that nobody else could wipe. Small blocks would be left out, rows of pictures among
    them, because glibc caches them as they are, and Python its own; both can only be switched off before a process starts. So this
    one starts itself again, once: whatever calls this calls it first. Memory stays flat without Python's own allocator, too: its
    arenas grow by some MiB a day for a long time, with nothing more in them.

    Args:
        pixels: Whether this process ever holds a picture.

    Returns:
        What was granted; nothing is raised, because ``mien doctor`` says what is missing.
    """
    library = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    no_core = library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    if not pixels:
        return Protection(no_core, overwritten=True, memory="no swap")
    if hasattr(library, "mallopt"):
        _start_without_cache()
    heeded = not sys.flags.ignore_environment
    overwritten = hasattr(library, "mallopt") and library.mallopt(M_PERTURB, FREED) == 1 and heeded
    return Protection(no_core, overwritten, _lock(library))


def _start_without_cache() -> None:
    """Become the same program again, with glibc's cache of small blocks and Python's own allocator off, unless they are."""
    name, malloc = ALLOCATOR
    tunables = os.environ.get("GLIBC_TUNABLES", "").split(":")
    if NO_CACHE not in tunables or os.environ.get(name) != malloc:
        others = [tunable for tunable in tunables if tunable and not tunable.startswith(NO_CACHE.partition("=")[0])]
        os.environ |= {"GLIBC_TUNABLES": ":".join([*others, NO_CACHE]), name: malloc}
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (this very program)


def _lock(library: ctypes.CDLL) -> Locked:
    """Lock every page, now and later, once it is used: only without a limit, because beyond one nothing could be allocated."""
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY or os.geteuid() == 0
    if unlimited and library.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0:
        return "locked"
    return "may be swapped" if _swaps() else "no swap"


def _swaps() -> bool:
    """Whether this machine has a swap, as far as can be seen."""
    try:
        return len(Path("/proc/swaps").read_text().splitlines()) > 1
    except OSError:
        return True
