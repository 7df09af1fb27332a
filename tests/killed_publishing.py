"""Publishing that dies by SIGKILL before each of its renames in turn: ``python -m tests.killed_publishing FOLDER WHAT``.

After each death a device must find a whole model, the old one or the new one; then the same is done again, to its end. Prints how
often it died. What is expensive is imported once; each life is a fork.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from device import trust
from provisioning.publish import Repository
from tests.repository import PASSPHRASE, Shop, another

folder, what = Path(sys.argv[1]), sys.argv[2]
FIRST, SECOND = another(1), another(2)


def act(shop: Shop) -> None:
    if what == "init":
        shop.repository.create(PASSPHRASE)
    elif what == "publish":
        shop.publish(SECOND)
    elif what == "renew-root":
        shop.repository.renew_root(PASSPHRASE)
    elif what == "replace-root":
        shop.repository.replace_root(PASSPHRASE)
    else:
        shop.now.move(55)
        shop.repository.refresh(PASSPHRASE)


def dies(shop: Shop, count: int) -> bool:
    """Whether a life ended before its rename of that number."""
    child = os.fork()
    if child == 0:
        left = count

        def step(name: str, _: tuple[Any, ...]) -> None:
            nonlocal left
            if name == "os.rename":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(step)
        act(shop)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        sys.exit(f"life {count} of {what} ended with {status}")
    return os.WIFSIGNALED(status)


def found(shop: Shop, root: bytes, cache: Path, target: str) -> None:
    """A device finds it; raises when it does not."""

    def fetch(name: str, _: int) -> bytes | None:
        path = shop.served / "metadata" / name
        return path.read_bytes() if path.exists() else None

    one = trust.find(shop.job(target, timestamp=1), root, cache, fetch)
    for signed in (one.model, one.vectors):
        signed.check((shop.served / "targets" / signed.path).read_bytes())


def main() -> None:
    count = 1
    while True:
        base = folder / str(count)
        if what == "init":
            (base / "models").mkdir(parents=True)
            shop = Shop.__new__(Shop)
            shop.repository = Repository(base)
            died = dies(shop, count)
            shop = Shop(base)
            found(shop, shop.root, base / "cache", shop.publish(FIRST))
        else:
            shop = Shop(base)
            root, target = shop.root, shop.publish(FIRST)
            found(shop, root, base / "cache", target)
            died = dies(shop, count)
            if what not in ("renew-root", "replace-root"):  # whose new keys and old metadata do not go together for a moment
                found(shop, root, base / "cache", target)
            act(shop)
            root = shop.root if what == "replace-root" else root
            found(shop, root, base / "cache", target)
            if what == "publish":
                found(shop, root, base / "cache", shop.publish(SECOND))
        shutil.rmtree(base)
        if not died:
            print(count - 1)
            return
        count += 1


if __name__ == "__main__":
    main()
