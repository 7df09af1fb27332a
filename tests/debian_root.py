"""Debian systems to install the package into: made once with mmdebstrap, kept in ``build/roots``, entered without a network.

What a test changes goes into an overlay of its own. Where Debian comes from is wherever this machine's apt gets it.

An emulated program would read of this machine's processor in ``/proc/cpuinfo`` and ``/sys``: XNNPACK then crashes, or without
``/sys`` is left out, and other kernels calculate than on a board. So both tell of the ``Board`` that is emulated.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ROOTS = PROJECT / "build" / "roots"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
PRESENT = "python3,python3-numpy,systemd,init-system-helpers,ca-certificates"  # what the package depends on; the rest is minimal
QEMU = "/usr/bin/qemu-aarch64-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# Magic and mask of a 64-bit little-endian Arm program in ELF; F: the emulator is opened here and now, and so works inside a root.
ARM64 = (
    rb":qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    rb":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:" + QEMU.encode() + b":OCF"
)
ENTER = """
set -e
layers=$1 work=$2 read_only=$3 processor=$4 script=$5
root=$work/root
ip link set lo up
mkdir -p "$root" "$work/upper" "$work/scratch" "$work/state"
mount -t overlay overlay -o "lowerdir=$layers,upperdir=$work/upper,workdir=$work/scratch" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
if [ "$read_only" = yes ]; then
    mount --bind "$work/state" "$root/var/lib/mien"
    mount -o remount,ro overlay "$root"
fi
if [ -n "$processor" ]; then
    mount --bind "$work/cpuinfo" "$root/proc/cpuinfo"
    mount -t tmpfs tmpfs "$root/sys"
    mkdir -p "$root/sys/devices/system/cpu"
    for list in possible present online; do echo 0-3 > "$root/sys/devices/system/cpu/$list"; done
fi
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    ${processor:+QEMU_CPU=$processor} bash -euc "$script"
"""


@dataclass(frozen=True)
class Board:
    """A board as its four cores say of themselves: what QEMU calls them, their part number, what the kernel lists as features."""

    processor: str
    part: str
    features: str

    def cpuinfo(self) -> str:
        """As in ``/proc/cpuinfo`` of that board."""
        core = f"Features\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        core += f"CPU part\t: {self.part}\nCPU revision\t: 3\n"
        return "".join(f"processor\t: {number}\n{core}\n" for number in range(4))


PI_4 = Board("cortex-a72", "0xd08", "fp asimd evtstrm crc32 cpuid")
PI_5 = Board(
    "cortex-a76", "0xd0b", "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
)


@dataclass(frozen=True)
class Root:
    """A Debian system of which nothing runs: folders that lie over each other, the topmost first, and one for what is changed."""

    layers: tuple[Path, ...]
    work: Path
    board: Board | None = None  # the one that it is emulated as

    def run(self, script: str, *, read_only: bool = False, check: bool = True, seconds: float = 300) -> str:
        """Run a bash script in it as root, without a network and with a process table of its own; what it printed, errors included.

        Args:
            script: What to run; it ends at the first command that fails.
            read_only: Whether everything but ``/var/lib/mien``, ``/run`` and ``/tmp`` is.
            check: Whether it is a failed test when the script fails.
            seconds: After which it is killed, with all that it has started.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        words = [":".join(map(str, self.layers)), str(self.work), "yes" if read_only else "no"]
        words += [self.board.processor if self.board else "", script]
        if self.board:
            (self.work / "cpuinfo").write_text(self.board.cpuinfo())
        done = subprocess.run(
            ["unshare", "-mnpf", "--kill-child", "sh", "-c", ENTER, "sh", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.returncode}\n{done.stdout[-8000:]}"
        return done.stdout

    def fork(self, work: Path) -> Root:
        """The same system, to be changed without this one noticing."""
        return Root((self.work / "upper", *self.layers), work, self.board)

    def put(self, source: Path, name: str) -> None:
        """Copy a file into it."""
        target = self.work / "upper" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def debian(suite: str, architecture: str, *more: str) -> Path:
    """The folder with that system and more packages, made when it is not there; a skipped test where this machine cannot."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a Debian system and enter it: sudo make test-system")
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux"), ("ip", "iproute2"), ("apt-get", "apt")):
        if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"needs {tool}: sudo apt install {package}")
    if "overlay" not in Path("/proc/filesystems").read_text():
        pytest.skip("needs overlay filesystems: sudo modprobe overlay")
    if architecture == "arm64":
        emulate_arm64()
    ROOTS.mkdir(parents=True, exist_ok=True)
    name, wanted = "-".join((suite, architecture, *more)), ",".join((PRESENT, *more))
    folder, complete = ROOTS / name, ROOTS / f"{name}.made"
    with open(ROOTS / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder.exists() and complete.exists() and complete.read_text() == wanted):
            shutil.rmtree(folder, ignore_errors=True)
            words = [f"--arch={architecture}", "--variant=minbase", "--mode=root", f"--include={wanted}"]
            words += ["--aptopt=Apt::Install-Recommends false", suite, str(folder), f"deb {mirror()} {suite} main"]
            made = subprocess.run(["mmdebstrap", "--quiet", *words], capture_output=True, text=True, check=False)
            if made.returncode:
                shutil.rmtree(folder, ignore_errors=True)
            assert made.returncode == 0, made.stderr[-4000:]
            complete.write_text(wanted)
    return folder


def mirror() -> str:
    """Where this machine's apt gets Debian from; a skipped test where it does not."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()
    ours = [line for line in found if line.rstrip("/").endswith("/debian")]
    if not ours:
        pytest.skip("needs a machine whose apt has a source of Debian: this one's has none")
    return ours[0]


def emulate_arm64() -> None:
    """Let this kernel run programs for 64-bit Arm; a skipped test where it cannot."""
    if os.uname().machine == "aarch64" or (BINFMT / "qemu-aarch64").exists():
        return
    if not Path(QEMU).exists():
        pytest.skip("needs an emulator of 64-bit Arm: sudo apt install qemu-user-static")
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=False, capture_output=True)
    try:
        (BINFMT / "register").write_bytes(ARM64)
    except OSError as error:
        pytest.skip(f"needs a kernel that runs foreign programs (binfmt_misc): {error.strerror}")


def build_package(architecture: str, out: Path, tree: Path = PROJECT) -> Path:
    """The package of this tree, or of another copy of it."""
    words: list[str | Path] = [sys.executable, tree / "packaging" / "deb.py", architecture]
    done = subprocess.run(
        [*words, "--out", out, "--cache", PROJECT / "build" / "wheels"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob(f"mien_*_{architecture}.deb"))
