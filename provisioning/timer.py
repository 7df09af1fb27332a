"""systemd's units that sign the models' metadata anew every day: what nobody must have to remember. Pure.

The timestamp ends after fourteen days on purpose, and ``mien-fleet serve`` has no passphrase for its key. So this is a unit of its
own that runs for a second a day, gets the passphrase as a credential, and has no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from provisioning.errors import WordsError

NAME: Final = "mien-fleet-refresh"
TIMER: Final = """\
[Unit]
Description=mien: sign the models' metadata anew, daily

[Timer]
OnCalendar=daily
RandomizedDelaySec=1h
# A machine that was off at that time does it when it is on.
Persistent=yes

[Install]
WantedBy=timers.target
"""


def units(*, program: tuple[str, ...], folder: Path, user: str, passphrase: Path, then: str | None) -> dict[str, str]:
    """The files, by name.

    Args:
        program: How ``mien-fleet`` is called.
        folder: The fleet's, absolute.
        user: Whose it is.
        passphrase: The file, absolute; only systemd needs to be able to read it.
        then: What to run afterwards, such as copying the repository to the web server; ``None`` for nothing.

    Raises:
        WordsError: A word cannot be written into a unit.
    """
    words = " ".join(_quoted(word).replace("$", "$$") for word in (*program, "model", "refresh", str(folder)))
    after, network = "", "PrivateNetwork=yes\n"
    if then is not None:
        after, network = f"ExecStartPost={_line(then)}\n", ""
    service = f"""\
[Unit]
Description=mien: sign the models' metadata anew

[Service]
Type=oneshot
ExecStart={words}
{after}LoadCredential=mien-fleet-passphrase:{_line(str(passphrase))}
User={_line(user)}
UMask=0077
{network}PrivateDevices=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={_quoted(str(folder))}
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""
    return {f"{NAME}.service": service, f"{NAME}.timer": TIMER}


def _line(word: str) -> str:
    """A word of one line, without the specifiers of systemd.unit(5)."""
    if not word or any(ord(one) < 32 for one in word):
        raise WordsError(f"{word!r}: cannot be written into a unit; expected one line")
    return word.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word in quotes where it needs them: systemd.syntax(7)."""
    plain = _line(word)
    if any(one in plain for one in " '\"\\;"):
        return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return plain
