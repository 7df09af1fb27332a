"""Who this device is to a broker, and words for what went wrong."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path
from typing import Final

from device import durable
from device.errors import BrokerError
from device.settings import BrokerSettings

TAKEN_OVER, TOO_LARGE, PROTOCOL_ERROR = 0x8E, 0x95, 0x82  # reason codes (MQTT 5.0, 2.4)
ENDING: Final = {  # why one message can end a connection; Mosquitto says the first in a way that is not MQTT 5
    TOO_LARGE: "the broker takes smaller messages only, and this one is larger; raise its limit",
    PROTOCOL_ERROR: "what the broker answers to this message is not MQTT 5; it may be larger than its limit",
}
MAX_BYTES: Final = 4 * 1024 * 1024  # of certificates, or of a password
NOT_YET_VALID, HAS_EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED of OpenSSL


class Outcome:
    """How one connection went.

    Attributes:
        connected_at: When the broker said yes, seconds on the monotonic clock; ``None`` when it has not.
        refused: Why it said no, in MQTT's words.
        reason: Why the connection ended, in ours or paho's words.
        taken_over: Whether another connection with the same name took its place.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self.url = settings.url
        self.connected_at: float | None = None
        self.refused = ""
        self.reason = ""
        self.taken_over = False

    def explain(self) -> str:
        """Why there is no connection any more, and what to do."""
        if self.refused == "Unsupported protocol version":
            return "the broker does not speak MQTT 5, which mien needs to know what was really taken; upgrade it or allow version 5"
        if self.refused:
            return (
                f"the broker refuses this device ({self.refused}); check username, password and certificate, and the broker's log"
            )
        if self.taken_over:
            return (
                "another connection with the name of this one took its place; if that happens again, somebody runs a copy of this "
                "device: give each its own identity (mien enroll --again) and its own send_folder"
            )
        if self.connected_at is None and (self.reason.startswith("the connection ended") or not self.reason):
            return f"the connection ended before the broker answered; does it {self._likely()}?"
        if not self.reason or self.reason.startswith("the connection ended"):
            return "the connection ended; if it does so often, another device may use the same name: see the broker's log"
        return self.reason

    def _likely(self) -> str:
        if not self._settings.tls:
            return "speak MQTT 5, and without TLS as the url says"
        if self._settings.certificate_file:
            return "speak MQTT 5, and accept this device's certificate"
        return "speak MQTT 5, or ask for a client certificate (certificate_file)"


def why(error: OSError | UnicodeError) -> str:
    """Why a connection could not be made, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"the broker's certificate is not to be trusted ({error.verify_message}"
        if error.verify_code in (NOT_YET_VALID, HAS_EXPIRED):
            today = time.strftime("%Y-%m-%d", time.gmtime())
            return f"{what}; the clock of this device says {today}); set the clock if that is wrong, else renew the certificate"
        return f"{what}); check ca_file and the url"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error}); does the broker speak TLS on this port?"
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror}); check the url and the name server"
    if isinstance(error, OSError):
        return f"cannot reach it ({error.strerror or error}); check the url and that the broker is running"
    return "no such host (not a possible name); check the url"


class _Socket(ssl.SSLSocket):
    """Closed at once when there is no handshake."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Whom to trust, and who we are.

    Raises:
        BrokerError: A file is missing, not PEM, or the key is encrypted or not the certificate's.
    """
    what: Path | None = settings.ca_file
    try:
        _regular(settings.ca_file)
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _Socket
        what = settings.certificate_file
        if settings.certificate_file:
            _regular(settings.certificate_file, settings.key_file)
            # An encrypted key would be asked for on the terminal, and nobody is there.
            context.load_cert_chain(settings.certificate_file, settings.key_file, password="")
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        expected = (
            "certificates in PEM" if what == settings.ca_file else f"PEM, and its own key, not encrypted, in {settings.key_file}"
        )
        raise BrokerError(f"{what}: cannot be used for TLS ({reason}); expected {expected}") from error
    return context


def _regular(*files: Path | None) -> None:
    """OpenSSL would wait for a pipe, or read a device, for ever. Raises OSError."""
    for file in filter(None, files):
        durable.read_given(file, MAX_BYTES)


def read_password(path: Path) -> str:
    """The first line of a file.

    Raises:
        BrokerError: There is none.
    """
    try:
        return durable.read_given(path, MAX_BYTES).decode().splitlines()[0]
    except OSError as error:
        raise BrokerError(f"{path}: cannot read the password ({error.strerror}); expected it on the first line") from error
    except (UnicodeDecodeError, IndexError) as error:
        raise BrokerError(f"{path}: there is no password in it; expected it on the first line, as UTF-8 text") from error
