"""Run the unit tests on every other Python from 3.10 to 3.13 that this machine has; ``make check`` calls this.

``make test`` runs them on the Python that runs this. Each other one gets an environment of its own, ``.venv-3.x``, from the same
lock file, kept for the next time; they are made at the same time, because pip waits for the network and uses one processor.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
THIS = "{}.{}".format(*sys.version_info)


def interpreter(version: str) -> str | None:
    """A Python of that version that can make environments: on the path, or where pyenv and uv put theirs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local/share/uv/python"
    found = [
        shutil.which(f"python{version}"),
        *pyenv.glob(f"{version}.*/bin/python{version}"),
        *uv.glob(f"*{version}*/bin/python{version}"),
    ]
    for candidate in (place for place in found if place is not None):
        asked = subprocess.run(
            [candidate, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == version:
            return str(candidate)
    return None


def environment(version: str, python: str) -> Path:
    """The environment for that version, made or made anew when the lock files have changed."""
    folder, marker = ROOT / f".venv-{version}", hashlib.sha256()
    for lock in LOCKS:
        marker.update((ROOT / lock).read_bytes())
    made = folder / "made"
    if not made.exists() or made.read_text() != marker.hexdigest():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip: list[str | Path] = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", ROOT / LOCKS[1]], check=True)
        made.write_text(marker.hexdigest())
    return folder / "bin/python"


def main() -> int:
    print(f"Python {THIS}: make test")
    found = {version: interpreter(version) for version in VERSIONS if version != THIS}
    with ThreadPoolExecutor() as pool:
        making = {version: pool.submit(environment, version, python) for version, python in found.items() if python is not None}
    failed = []
    for version in found:
        if version not in making:
            print(f"Python {version}: not on this machine")
            continue
        run = making[version].result()
        tests: list[str | Path] = [run, "-W", "error", "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", "tests/unit"]
        print(f"Python {version}:", flush=True)
        if subprocess.run(tests, cwd=ROOT, check=False).returncode:
            failed.append(version)
    if failed:
        print(f"the unit tests fail on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
