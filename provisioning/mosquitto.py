"""The configuration of Debian's Mosquitto 2.0.11 for a fleet. Pure: folders and numbers in, text out.

How its parts work together, as tried on 2.0.11 (``tests/integration/test_broker_config.py``):

- Every client has a certificate; its common name is its user name. Passwords do not exist.
- The ACL file's patterns say what devices and claims may reach, with fixed rules for any number of them.
- A broker of this version grants every subscription, also ``#``, and filters what it delivers. A client learns of a refused
  publish by the reason code of its PUBACK (MQTT 5).
- The dynamic security plugin is asked before the ACL file and has no opinion about anybody it does not know. It knows those alone
  that were cut off: they have the role ``revoked``, which refuses every topic at once, and are disabled, which ends the session.
- It is not asked when a certificate connects. So being disabled does not stop the next connection (which can then reach no topic);
  the revocation list does, read again on SIGHUP. Sessions that stand do not notice the list. Both are needed.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device.contract import MAX_MESSAGE_BYTES, ROOT
from device.contract_enroll import ENROLL_ROOT
from provisioning.certificates import SERVICE

CONTROL: Final = "$CONTROL/dynamic-security/v1"
ANSWERS: Final = f"{CONTROL}/response"
REVOKED: Final = "revoked"
RETAINED: Final = ("up/status", "up/notice", "up/twin", "up/model", "down/ack", "down/twin", "down/model")  # of each device
MESSAGES_PER_HOUR: Final = 70  # of a device with default settings: 60 statuses, 4 reports, and room for answers
MESSAGE_BYTES: Final = 1024  # a report with its properties is smaller
PACKET_BYTES: Final = 2 * MAX_MESSAGE_BYTES  # the payload, and room for topic and properties
PLUGIN: Final = "mosquitto_dynamic_security.so"
INSTALLED: Final = Path("/etc/mosquitto/mien")  # where the broker's folder goes on its machine


@dataclass(frozen=True, slots=True)
class Size:
    """What the broker must be able to keep.

    Attributes:
        fleet: Devices.
        outage: Hours for which the service may be away without a message being lost.
    """

    fleet: int
    outage: float

    @property
    def messages(self) -> int:
        """For one session that gets everything; at least Mosquitto's own default of 1,000."""
        return max(1000, round(self.fleet * self.outage * MESSAGES_PER_HOUR))

    @property
    def bytes(self) -> int:
        return self.messages * MESSAGE_BYTES


def configuration(
    size: Size,
    *,
    port: int = 8883,
    host: str = "",
    files: Path = INSTALLED,
    data: Path = Path("/var/lib/mosquitto"),
    user: str = "mosquitto",
) -> str:
    """``mosquitto.conf``, whole and with its reasons.

    Args:
        size: Of the fleet.
        port: To listen on.
        host: To listen on; empty for every address of the machine.
        files: Folder with certificates, list and ACL.
        data: Folder that the broker writes: its database and the plugin's.
        user: Whom a broker started by root becomes.
    """
    return f"""\
# Mosquitto 2.0.11 for a fleet of {size.fleet} mien devices. Written by mien-fleet; mien-fleet renew writes it again.
# It is complete: install it as /etc/mosquitto/mosquitto.conf, beside nothing else (see docs/broker.md).

# --- Who connects -------------------------------------------------------------------------------------------------
# One listener. Everybody has a certificate; nobody has a password; nothing is spoken in the clear.
allow_anonymous false
listener {port}{f" {host}" if host else ""}
# The issuing authority and the root: a client need not send the issuing one (some do not).
cafile {files}/clients.pem
certfile {files}/broker.pem
keyfile {files}/broker.key
tls_version tlsv1.2
require_certificate true
# The certificate's common name is the user name: %u below, whatever a client says in its CONNECT.
use_identity_as_username true
# Revoked certificates. Read at the start and on SIGHUP; it stops new connections only. An expired list refuses EVERYBODY:
# mien-fleet serve, or a daily mien-fleet crl renew, replaces it in time.
crlfile {files}/crl.pem

# --- Who reaches which topic --------------------------------------------------------------------------------------
# Patterns with %u, see the file. Without it everybody could reach everything.
acl_file {files}/acl
# Dynamic security cuts a session that stands. It is asked before the ACL file and knows revoked names only. It writes its file.
plugin {_plugin()}
plugin_opt_config_file {data}/dynamic-security.json

# --- What is kept ---------------------------------------------------------------------------------------------------
# Sessions, queues and retained messages survive a restart.
persistence true
persistence_location {data}/
# Written every so many seconds and at the end. After a crash, what came since is lost: devices send reports again that
# no collector has acknowledged. (With the default of 1800, half an hour.)
autosave_interval 300
# For each session that is away or slow, {size.fleet} devices x {size.outage:g} hours x {MESSAGES_PER_HOUR} messages.
# The default keeps 1,000 and drops the rest without a word.
max_queued_messages {size.messages}
# The same at {MESSAGE_BYTES} bytes each. The first limit reached counts.
# That is {size.bytes / 2**20:.0f} MiB of memory, if a session is really away so long.
max_queued_bytes {size.bytes}
# QoS 0 is for what need not be kept.
queue_qos0_messages false
# On their way to one client at once, before it has confirmed.
max_inflight_messages 100
# Sessions of clients that never come back.
persistent_client_expiration 14d

# --- What is refused --------------------------------------------------------------------------------------------------
# The contract allows {MAX_MESSAGE_BYTES} bytes for a message, and as much again is for topic and properties. A longer packet ends
# the connection.
max_packet_size {PACKET_BYTES}
# A dead connection is noticed within one and a half times this, and its last will told.
max_keepalive 300

# --- The broker itself --------------------------------------------------------------------------------------------------
user {user}
set_tcp_nodelay true
sys_interval 10
# Into journald (systemd) or onto the terminal. Neither topics nor payloads are logged.
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages true
"""


def acl() -> str:
    """The ACL file: what is not allowed here is refused."""
    answers = "".join(f"pattern read {ENROLL_ROOT}/%u/+/{word}\n" for word in ("accepted", "rejected"))
    claims = "".join(f"pattern {way} %u/+/{word}\n" for way, word in _CLAIM)
    return f"""\
# Who may reach which topic. %u is the common name of the certificate. Written by mien-fleet.
# Mosquitto warns about patterns without %u: these are refusals for everybody, and meant.

# Devices. The common name is the device's id: their own topics, up to write and down to read.
pattern write {ROOT}/%u/up/#
pattern read {ROOT}/%u/down/#
# A device that has just got its certificate confirms it.
pattern write {ENROLL_ROOT}/%u/+/confirm
{answers}
# Claims. The common name is the prefix of their topics ({ENROLL_ROOT}/BATCH): they may ask for certificates, and read the answers.
{claims}
# The patterns above are for everybody. These refusals, which come first, keep the two kinds apart: a claim has slashes in its name,
# so the rules for devices would give it topics below here,
pattern deny {ROOT}/{ENROLL_ROOT.split("/")[0]}/#
pattern deny {ENROLL_ROOT}/{ENROLL_ROOT.split("/")[0]}/#
# and a device has none, so the rules for claims would give it topics of three levels.
{"".join(f"pattern deny +/+/{word}" + chr(10) for _, word in _CLAIM)}
# The manager's own programs: everything of the fleet, and the power to cut a session.
user {SERVICE}
topic readwrite {ROOT}/#
topic readwrite {ENROLL_ROOT}/#
topic readwrite {CONTROL}/#
topic read $SYS/#
"""


_CLAIM: Final = (("write", "csr"), ("write", "register"), ("read", "accepted"), ("read", "rejected"))


def dynamic_security() -> str:
    """What the plugin starts with: nobody, and the role of those who are cut off."""
    everything = [
        {"acltype": kind, "topic": "#", "priority": 0, "allow": False}
        for kind in ("publishClientSend", "publishClientReceive", "subscribePattern")
    ]
    no = dict.fromkeys(("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"), False)
    roles = [{"rolename": REVOKED, "acls": everything}]
    return json.dumps({"defaultACLAccess": no, "clients": [], "groups": [], "roles": roles}, indent=1) + "\n"


def cut(name: str) -> list[dict[str, Any]]:
    """Commands that end every session of a common name and refuse it all topics. Repeating them changes nothing."""
    return [
        {"command": "createClient", "username": name, "roles": [{"rolename": REVOKED}]},
        {"command": "disableClient", "username": name},
    ]


def restore(name: str) -> list[dict[str, Any]]:
    """Commands after which a name may be used again, by another certificate. Repeating them changes nothing."""
    return [{"command": "deleteClient", "username": name}]


def control(commands: list[dict[str, Any]], correlation: str) -> bytes:
    """The payload for ``CONTROL``; the answers on ``ANSWERS`` repeat the correlation."""
    return json.dumps({"commands": [{**command, "correlationData": correlation} for command in commands]}).encode()


def answers(payload: bytes, correlation: str) -> list[str] | None:
    """Read a message on ``ANSWERS``.

    Returns:
        What went wrong, command by command; empty when all went well, also when it had been done before. ``None`` for an answer
        to somebody else.
    """
    try:
        found = json.loads(payload)["responses"]
        mine = [one for one in found if one.get("correlationData") == correlation]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    done = {("createClient", "Client already exists"), ("deleteClient", "Client not found")}
    wrong = [one for one in mine if one.get("error") and (one.get("command"), one["error"]) not in done]
    return [f"{one.get('command')}: {one['error']}" for one in wrong] if mine else None


def _plugin() -> Path:
    """Where Debian puts the plugin on this kind of machine."""
    found = sorted(Path("/usr/lib").glob(f"*/{PLUGIN}"))
    return found[0] if found else Path("/usr/lib") / f"{platform.machine()}-linux-gnu" / PLUGIN
