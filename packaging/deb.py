"""Build the Debian package: ``make deb`` or ``make deb DEB_ARCH=amd64``.

    python packaging/deb.py arm64 --out dist

Takes no root and no debhelper: ``dpkg-deb`` alone. In the package are the wheels that ``requirements.lock`` names by hash, for the
Pythons of Debian 12 and 13, and the wheel of mien itself; ``debian/postinst`` makes the environment from them on the device. The
same tree and ``SOURCE_DATE_EPOCH`` (default: the last commit's time) give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
DEBIAN: Final = Path(__file__).resolve().parent / "debian"
MACHINES: Final = {"arm64": "aarch64", "amd64": "x86_64"}  # Debian's name of a processor, and Python's
PYTHONS: Final = ("3.11", "3.13")  # of Debian and Raspberry Pi OS 12 (bookworm) and 13 (trixie)
GLIBC: Final = 36  # of Debian 12 is 2.36: wheels for later ones do not run there
NUMPY: Final = "numpy"  # the system's own: picamera2 is built against it
BUILD_ONLY: Final = {"editables", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
UNITS: Final = (".service", ".target", ".timer", ".socket", ".path", ".slice")
LINKS: Final = {"usr/bin/mien": "/opt/mien/bin/mien"}


class BuildError(Exception):
    """The package cannot be built; the message says what to do."""


def locked(lock: str, python: str, machine: str) -> list[str]:
    """The lines of a lock file, with their hashes, that a device with that Python and processor needs; never NumPy.

    Args:
        lock: What ``requirements.lock`` holds.
        python: Such as ``3.11``.
        machine: Such as ``aarch64``.
    """
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    lines = []
    for line in lock.replace("\\\n", " ").splitlines():
        words, *hashes = line.split(" --hash=")
        if not words.strip() or words.startswith("#"):
            continue
        wanted = Requirement(words.strip())
        left_out = canonicalize_name(wanted.name) in {NUMPY, *BUILD_ONLY}
        if not left_out and (wanted.marker is None or wanted.marker.evaluate(environment)):
            lines.append(" ".join((f"{wanted.name}{wanted.specifier}", *(f"--hash={value.strip()}" for value in hashes))))
    return lines


def download(lines: Iterable[str], python: str, machine: str, folder: Path) -> None:
    """Fetch these wheels with pip, which checks their hashes; a wheel that is there already is not fetched again."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "requirements.txt"
    listed.write_text("\n".join(lines) + "\n")
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(17, GLIBC + 1)] + [f"manylinux2014_{machine}"]
    words = ["download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp"]
    words += [f"--python-version={python}", f"--dest={folder}", f"--find-links={folder}", f"--requirement={listed}"]
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *words, *(f"--platform={name}" for name in platforms))


def own_wheel(folder: Path) -> Path:
    """The wheel of mien, models and notices included."""
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", str(ROOT)]
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *words)
    return next(folder.glob("mien-*.whl"))


def refuse_odd(wheel: Path) -> None:
    """``postinst`` only unpacks: refuse a wheel that would need more (code or programs beside its packages, links)."""
    with zipfile.ZipFile(wheel) as packed:
        for entry in packed.infolist():
            kind = entry.filename.partition(".data/")[2].partition("/")[0]
            if kind not in ("", "data") or (entry.external_attr >> 16) & 0o170000 == 0o120000:
                raise BuildError(f"{wheel.name}: {entry.filename} cannot be installed by unpacking; pin another version")


def wheels(architecture: str, cache: Path, target: Path) -> None:
    """Lay out the wheels: ``target/*.whl`` for every Python, ``target/3.11/*.whl`` for that one."""
    lock, machine = (ROOT / "requirements.lock").read_text(), MACHINES[architecture]
    found: dict[str, dict[str, Path]] = {}
    for python in PYTHONS:
        lines = locked(lock, python, machine)
        folder = cache / f"{architecture}-{python}-{hashlib.sha256(''.join(lines).encode()).hexdigest()[:12]}"
        if not (folder / "complete").exists():
            download(lines, python, machine, folder)
            (folder / "complete").touch()
        found[python] = {wheel.name: wheel for wheel in folder.glob("*.whl")}
    shared = set.intersection(*(set(names) for names in found.values()))
    for python, files in found.items():
        (target / python).mkdir(parents=True)
        for name, wheel in files.items():
            refuse_odd(wheel)
            shutil.copyfile(wheel, target / name if name in shared else target / python / name)


def systemd_files() -> Iterator[tuple[str, Path]]:
    """Where each file of ``systemd/`` belongs, and the file."""
    folder = ROOT / "systemd"
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if file.suffix in UNITS or (file.suffix == ".conf" and inside.parent.suffix == ".d"):
            yield f"usr/lib/systemd/system/{inside}", file
        elif file.suffix in (".sysusers", ".tmpfiles"):
            yield f"usr/lib/{file.suffix[1:]}.d/mien.conf", file
        elif file.suffix == ".rules":
            yield f"usr/lib/udev/rules.d/{file.name}", file


def documents() -> Iterator[tuple[str, Path]]:
    """What is read beside the program; the units name ``/opt/mien/README.md`` and pages of ``/opt/mien/docs``."""
    for name in ("README.md", "LICENSE", "NOTICE"):
        yield f"opt/mien/{name}", ROOT / name
    yield "opt/mien/systemd/README.md", ROOT / "systemd/README.md"
    for page in sorted((ROOT / "docs").rglob("*.md")):
        yield f"opt/mien/docs/{page.relative_to(ROOT / 'docs')}", page
    for picture in sorted((ROOT / "docs" / "images").glob("*.svg")):
        yield f"opt/mien/docs/images/{picture.name}", picture


def lay_out(tree: Path, version: str, epoch: int) -> None:
    """Everything in the package but wheels and control files."""
    files = {
        "etc/mien/settings.toml": ROOT / "device" / "settings.toml",
        "opt/mien/bin/mien": DEBIAN / "mien",
        "usr/share/lintian/overrides/mien": DEBIAN / "lintian-overrides",
        "usr/share/doc/mien/copyright": DEBIAN / "copyright",
        **dict(systemd_files()),
        **dict(documents()),
    }
    for name, source in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tree / name)
    (tree / "opt/mien/bin/mien").chmod(0o755)
    for name, target in LINKS.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(epoch))
    entry = f"mien ({version}) stable; urgency=medium\n\n  * See /opt/mien/docs and the project's CHANGELOG.md.\n\n"
    pack(tree / "usr/share/doc/mien/changelog.gz", f"{entry} -- {maintainer()}  {date}\n".encode())
    pack(tree / "usr/share/doc/mien/NEWS.gz", (ROOT / "CHANGELOG.md").read_bytes())


def pack(file: Path, content: bytes) -> None:
    """Write it compressed, the same bytes every time."""
    file.write_bytes(gzip.compress(content, 9, mtime=0))


def maintainer() -> str:
    """Name and address, as in the control file."""
    found = re.search(r"^Maintainer: (.+)$", (DEBIAN / "control").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def control_files(tree: Path, version: str, architecture: str) -> None:
    """The folder ``DEBIAN``: what dpkg reads and runs."""
    folder = tree / "DEBIAN"
    folder.mkdir()
    sizes = [(1 if file.is_symlink() else -(-file.stat().st_size // 1024)) for file in tree.rglob("*") if not file.is_dir()]
    control = (DEBIAN / "control").read_text()
    for name, value in (("VERSION", version), ("ARCHITECTURE", architecture), ("SIZE", str(sum(sizes)))):
        control = control.replace(f"@{name}@", value)
    (folder / "control").write_text(control)
    for name in ("conffiles", "triggers"):
        shutil.copyfile(DEBIAN / name, folder / name)
    for name in ("postinst", "prerm", "postrm"):
        shutil.copyfile(DEBIAN / name, folder / name)
        (folder / name).chmod(0o755)
    with (folder / "md5sums").open("w") as sums:
        for file in sorted(tree.rglob("*")):
            inside = file.relative_to(tree)
            if file.is_file() and not file.is_symlink() and inside.parts[0] not in ("DEBIAN", "etc"):
                sums.write(f"{hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()}  {inside}\n")


def build(architecture: str, out: Path, cache: Path) -> Path:
    """Build the package and return its file.

    Args:
        architecture: ``arm64`` or ``amd64``.
        out: Where it goes.
        cache: Where downloaded wheels are kept, by what the lock file says of them.

    Raises:
        BuildError: A program is missing, or a wheel cannot be had.
    """
    if shutil.which("dpkg-deb") is None:
        raise BuildError("dpkg-deb is not installed; on Debian and Ubuntu it always is, elsewhere install the package dpkg")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or last_commit())
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)  # for the wheel and for dpkg-deb
    found = re.search(r'VERSION = "([^"]+)"', (ROOT / "device" / "version.py").read_text())
    assert found is not None
    version = found[1]
    with tempfile.TemporaryDirectory(prefix="mien-deb-") as made:
        tree = Path(made) / "tree"
        tree.mkdir()
        lay_out(tree, version, epoch)
        wheels(architecture, cache, tree / "opt/mien/wheels")
        own = own_wheel(Path(made))
        shutil.copyfile(own, tree / "opt/mien/wheels" / own.name)
        control_files(tree, version, architecture)
        for path in tree.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        out.mkdir(parents=True, exist_ok=True)
        package = out / f"mien_{version}_{architecture}.deb"
        # wheels are compressed already: xz would take 16 times as long for 1 % less
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(package))
    return package


def last_commit() -> str:
    """When the last commit was made, seconds since 1970."""
    try:
        return run("git", "-C", str(ROOT), "log", "-1", "--format=%ct")
    except (BuildError, OSError) as error:
        raise BuildError(f"the date of the package cannot be had from git ({error}); set SOURCE_DATE_EPOCH=$(date +%s)") from None


def run(*words: str) -> str:
    """Run a program; what it printed.

    Raises:
        BuildError: It failed.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(words[:4])} …: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the Debian package of mien.")
    parser.add_argument("architecture", choices=sorted(MACHINES))
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder for it  [dist]")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "wheels", help="for downloaded wheels  [build/wheels]")
    chosen = parser.parse_args()
    try:
        package = build(chosen.architecture, chosen.out, chosen.cache)
    except BuildError as error:
        print(f"deb: {error}", file=sys.stderr)
        return 1
    print(f"{package} {package.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
