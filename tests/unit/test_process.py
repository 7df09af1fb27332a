"""What the kernel and the C library are told, seen from outside in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device.process import Protection

ROOT = Path(__file__).parents[2]
START = "from device.process import protect; made = protect(pixels={pixels}); "
DUMPABLE = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
LIMITS = "print(open('/proc/self/limits').read())"
STATUS = "print(open('/proc/self/status').read())"


def run(code: str, *, pixels: bool = True, before: tuple[str, ...] = ()) -> str:
    words = [*before, sys.executable, "-c", START.format(pixels=pixels) + code]
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT, timeout=50).stdout


@pytest.mark.parametrize("pixels", [True, False])
def test_there_is_no_core_dump(pixels: bool) -> None:
    assert run(DUMPABLE, pixels=pixels).strip() == "0"
    (line,) = (line for line in run(LIMITS, pixels=pixels).splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]


def test_a_process_is_dumpable_until_it_is_protected() -> None:
    words = [sys.executable, "-c", DUMPABLE]

    assert subprocess.run(words, check=True, capture_output=True, text=True, timeout=50).stdout.strip() == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user may not lock all memory")
def test_memory_is_locked_where_the_limit_allows() -> None:
    locked = next(line for line in run(STATUS).splitlines() if line.startswith("VmLck:"))

    assert int(locked.split()[1]) > 1000


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv, to become somebody else")
def test_an_ordinary_user_is_told_whether_memory_may_be_swapped() -> None:
    alone = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "prlimit", "--memlock=65536:65536")

    found = run("print(made.memory)", before=alone).strip()

    assert found in {"locked", "no swap", "may be swapped"}


def test_a_python_that_heeds_no_variables_does_not_claim_that_it_overwrites_what_is_freed() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {START.format(pixels=True)} print(made.overwritten)"
    ran = {
        flags: subprocess.run([sys.executable, *flags, "-c", code], check=True, capture_output=True, text=True, timeout=50).stdout
        for flags in ((), ("-E",), ("-I",))
    }

    assert {flags: said.strip() for flags, said in ran.items()} == {(): "True", ("-E",): "False", ("-I",): "False"}


def test_what_is_freed_is_overwritten() -> None:
    code = (
        "import ctypes; c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p; c.free.argtypes = [ctypes.c_void_p]; "
        "at = c.malloc(5000); after = c.malloc(5000); "
        "ctypes.memset(at, 0x41, 5000); c.free(at); "
        "print(ctypes.string_at(at + 64, 4000).count(b'A' * 16))"
    )

    assert run(code).strip() == "0"
    assert int(run(code, pixels=False)) > 200


def test_what_python_itself_frees_is_overwritten_too() -> None:
    """A row of 200 bytes, as ``bytes``: from 32 bytes after its beginning on."""
    code = (
        "import ctypes; row = bytes(bytearray(b'A' * 200)); at = id(row) + 32; "
        "held = ctypes.string_at(at, 200).count(b'A'); del row; print(held, ctypes.string_at(at, 160).count(b'A' * 16))"
    )
    held, left = map(int, run(code).split())

    assert held == 200
    assert left == 0
    assert int(run(code, pixels=False).split()[1]) > 6


def test_what_is_missing_is_said_with_what_to_do() -> None:
    told = Protection(no_core=False, overwritten=False, memory="may be swapped").complaints()

    assert len(told) == 2
    assert all("; " in line for line in told)
    assert not Protection(no_core=True, overwritten=True, memory="no swap").complaints()
