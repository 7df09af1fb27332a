"""Everything that may go wrong and that a person can do something about.

Each error carries the exit code of the command that it ends. The message says what was wrong, where, what was
expected, and what to do; it is printed as it is, without a traceback.

====  =====================  ==========================================================
code  name in sysexits.h     meaning
====  =====================  ==========================================================
0                            done
1                            a check found something wrong (``doctor``, ``bench``)
2                            wrong words on the command line
65    EX_DATAERR             a file's content is not what it should be (a model)
69    EX_UNAVAILABLE         a camera, a broker or a runtime is not there
73    EX_CANTCREAT           a folder or file cannot be written
75    EX_TEMPFAIL            another process holds it, or it stopped mid-way: try again
78    EX_CONFIG              the local settings file is wrong; systemd does not restart
====  =====================  ==========================================================
"""

from __future__ import annotations


class MienError(Exception):
    """Base of every error that a user may see."""

    exit_code: int = 1


class WordsError(MienError):
    """What was asked for on the command line cannot be done."""

    exit_code = 2


class OutputError(MienError):
    """A file that was asked for cannot be written."""

    exit_code = 73


class CameraError(MienError):
    """A camera is missing, or no frame arrived in time."""

    exit_code = 69


class CameraStoppedError(CameraError):
    """A camera that had worked stopped delivering frames."""

    exit_code = 75


class EndOfFrames(Exception):  # noqa: N818 (not an error: like StopIteration, it ends a loop)
    """A recording has been shown to its end."""


class FrameClosedError(MienError):
    """Somebody asked for pixels that have been destroyed."""


class ModelError(MienError):
    """A model file is missing, damaged, or not the one that was expected."""

    exit_code = 65


class ShapeError(ModelError):
    """A model's tensors are not those that are expected."""


class RuntimeMissingError(MienError):
    """No TFLite runtime can be used."""

    exit_code = 69


class WornError(MienError):
    """This process holds more memory than it may, and begins anew."""

    exit_code = 75


class SettingsError(MienError):
    """A settings file is wrong."""

    exit_code = 78


class SpoolError(MienError):
    """The spool cannot be read or written."""

    exit_code = 73


class SpoolBusyError(SpoolError):
    """Another process holds this side of the spool."""

    exit_code = 75


class BrokerError(MienError):
    """The broker cannot be reached, or refuses."""

    exit_code = 69


class IdentityError(MienError):
    """A key, certificate or claim of this device cannot be used."""

    exit_code = 65
