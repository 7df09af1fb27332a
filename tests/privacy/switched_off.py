"""Every protection that is no matter of memory (``device.proof.protections`` has those): what switches it off, and who notices.

``python -m pytest -m system tests/privacy/test_switched_off.py`` takes each out of a copy of the code and runs its test there.
"""

from __future__ import annotations

from typing import Final

from tests.privacy.off_figures import FIGURES
from tests.privacy.off_people import PEOPLE

PROTECTIONS: Final = (*FIGURES, *PEOPLE)
