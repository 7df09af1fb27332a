"""Setting and jurisdiction → what may be inferred at all. Pure data, one page; each line has its source.

This is what the software enforces, not legal advice: whoever runs a device answers for it. Where a text leaves room, the narrower
reading was taken. The AI Act is Regulation (EU) 2024/1689; its Art. 5 applies since 2 February 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from device.errors import MienError
from device.jurisdictions import EU, KNOWN

VERSION: Final = 1  # of this page: raised with every change of a rule
Setting = Literal["retail", "kiosk", "classroom", "workplace", "healthcare", "research"]
SETTINGS: Final[tuple[Setting, ...]] = get_args(Setting)
Purpose = Literal["safety", "medical"]
Inference = Literal["occupancy", "emotion", "attention", "fatigue"]
INFERENCES: Final[tuple[Inference, ...]] = get_args(Inference)
Region = Literal["EU", "elsewhere", "unknown"]
Declared = Literal["staff_out_of_view", "safety", "medical"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table.

    Attributes:
        needs: Any one of these must be declared; empty: permitted as it is; ``None``: never.
        source: Where that is written.
    """

    needs: frozenset[Declared] | None
    source: str


def _never(source: str) -> Rule:
    return Rule(None, source)


def _with(*any_of: Declared, source: str) -> Rule:
    return Rule(frozenset(any_of), source)


_ACT: Final = "Regulation (EU) 2024/1689"
_TOLD: Final = f"{_ACT} Art. 50(3): the people in view must be told (mien notice)"
_SCHOOL: Final = f"{_ACT} Art. 5(1)(f) prohibits inferring emotions in education institutions"
_WORK: Final = f"{_ACT} Art. 5(1)(f) prohibits inferring emotions in the workplace"
_STAFF: Final = f"{_WORK}, so staff must be kept out of view; and {_TOLD}"
_MEDICAL: Final = f"{_ACT} Art. 5(1)(f) excepts medical reasons, and otherwise protects the staff, who must be kept out of view"
_RESEARCH: Final = f"{_ACT} Art. 2(6) excepts what serves scientific research alone"
_STATE: Final = f"{_ACT} recital 18: fatigue is a physical state, not an emotion"
_SAFETY: Final = f"{_STATE}; Regulation (EU) 2016/679 Art. 5(1)(b): only for the purpose that was declared"
_COUNT: Final = "how many people there are says nothing about any of them; Regulation (EU) 2016/679 Art. 5(1)(c)"
_ELSEWHERE: Final = (
    "outside the EU and the EEA this table knows no prohibition: check the national law, and tell people (mien notice)"
)
_UNKNOWN: Final = "where setting or jurisdiction is not known, no law can be looked up and the strictest rules apply"

# Where (region), in what setting, what is inferred → what must be declared, and where that is written.
TABLE: Final[Mapping[tuple[Region, Setting | None, Inference], Rule]] = {
    ("EU", None, "occupancy"): _with(source=_COUNT),
    ("EU", "retail", "emotion"): _with("staff_out_of_view", source=_STAFF),
    ("EU", "retail", "attention"): _with("staff_out_of_view", source=_STAFF),
    ("EU", "retail", "fatigue"): _with("safety", source=_SAFETY),
    ("EU", "kiosk", "emotion"): _with("staff_out_of_view", source=_STAFF),
    ("EU", "kiosk", "attention"): _with("staff_out_of_view", source=_STAFF),
    ("EU", "kiosk", "fatigue"): _with("safety", source=_SAFETY),
    ("EU", "classroom", "emotion"): _never(_SCHOOL),
    ("EU", "classroom", "attention"): _never(f"{_SCHOOL}; inferring the attention of students is treated as that"),
    ("EU", "classroom", "fatigue"): _with("safety", source=_SAFETY),
    ("EU", "workplace", "emotion"): _never(_WORK),
    ("EU", "workplace", "attention"): _with("safety", source=f"{_ACT} Art. 5(1)(f) excepts safety reasons"),
    ("EU", "workplace", "fatigue"): _with("safety", source=_SAFETY),
    ("EU", "healthcare", "emotion"): _with("medical", "staff_out_of_view", source=f"{_MEDICAL}; and {_TOLD}"),
    ("EU", "healthcare", "attention"): _with("medical", "staff_out_of_view", source=_MEDICAL),
    ("EU", "healthcare", "fatigue"): _with("medical", "safety", source=_SAFETY),
    ("EU", "research", "emotion"): _with(source=f"{_RESEARCH}; {_TOLD}"),
    ("EU", "research", "attention"): _with(source=_RESEARCH),
    ("EU", "research", "fatigue"): _with(source=_STATE),
    ("elsewhere", None, "occupancy"): _with(source=_COUNT),
    ("elsewhere", None, "emotion"): _with(source=_ELSEWHERE),
    ("elsewhere", None, "attention"): _with(source=_ELSEWHERE),
    ("elsewhere", None, "fatigue"): _with(source=_ELSEWHERE),
    ("unknown", None, "occupancy"): _with(source=_COUNT),
    ("unknown", None, "emotion"): _never(_UNKNOWN),
    ("unknown", None, "attention"): _never(_UNKNOWN),
    ("unknown", None, "fatigue"): _never(_UNKNOWN),
}


class PolicyError(MienError):
    """Something asks for more than the policy permits.

    Attributes:
        path: The key that asks, such as ``policy.setting``.
        reason: Why not, with the article.
    """

    exit_code = 78

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Stated:
    """What the operator says about a device; ``None``: nothing.

    Attributes:
        jurisdiction: An ISO 3166-1 code of two letters, or ``EU``.
        purpose: Declared where the law asks for one.
        staff_out_of_view: The measure that keeps staff out of view, in words.
        emotions: ``True`` insists on them, ``False`` does without, ``None`` takes what is permitted.
    """

    setting: Setting | None = None
    jurisdiction: str | None = None
    purpose: Purpose | None = None
    staff_out_of_view: str | None = None
    emotions: bool | None = None

    @property
    def region(self) -> Region:
        """Which part of the table applies."""
        code = (self.jurisdiction or "").upper()
        if self.setting is None or code not in KNOWN:
            return "unknown"
        return "EU" if code in EU else "elsewhere"

    @property
    def declared(self) -> frozenset[str]:
        """What is declared, as ``Rule.needs`` names it."""
        return frozenset(filter(None, (self.purpose, self.staff_out_of_view and "staff_out_of_view")))


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be inferred, and why not the rest.

    Attributes:
        id: Setting, jurisdiction and version of this page, as every report names them: ``retail/DE@1``.
        why: For each inference, the source of its rule, and what is missing where it is not permitted.
    """

    id: str
    region: Region
    may: frozenset[Inference]
    why: Mapping[Inference, str]


def rule_for(stated: Stated, inference: Inference) -> Rule:
    """The line of the table that applies."""
    region = stated.region
    return TABLE.get((region, stated.setting, inference)) or TABLE[region, None, inference]


def decide(stated: Stated) -> Policy:
    """Look up what may be inferred; never raises: what is not stated is not permitted."""
    may: set[Inference] = set()
    why: dict[Inference, str] = {}
    for inference in INFERENCES:
        rule = rule_for(stated, inference)
        why[inference] = rule.source
        if inference == "emotion" and stated.emotions is False:
            why[inference] = "emotions = false"
        elif rule.needs is not None and (not rule.needs or rule.needs & stated.declared):
            may.add(inference)
        elif rule.needs:
            why[inference] = f"needs {_keys(rule.needs)} to be declared: {rule.source}"
    code = (stated.jurisdiction or "").upper()
    where = code if code in KNOWN else "unknown"
    return Policy(f"{stated.setting or 'unknown'}/{where}@{VERSION}", stated.region, frozenset(may), why)


def insist(stated: Stated) -> Policy:
    """As ``decide``, and refuse what is insisted on without being permitted.

    Raises:
        PolicyError: ``emotions`` is ``True``, and may not be inferred here.
    """
    policy = decide(stated)
    if stated.emotions and "emotion" not in policy.may:
        where = f"setting {stated.setting or 'not stated'}, jurisdiction {stated.jurisdiction or 'not stated'}"
        raise PolicyError("policy.emotions", f"emotions may not be inferred here ({where}): {policy.why['emotion']}")
    return policy


def narrow(identity: Stated, wanted: Stated) -> Policy:
    """What a device may do whose identity fixes setting and jurisdiction, when a file or a twin wants something else.

    Args:
        identity: What the signed identity says; its declarations and wishes are not looked at.
        wanted: What is asked for; what it leaves out is as in the identity.

    Raises:
        PolicyError: It would permit anything that the identity does not; nothing of it may then be applied.
    """
    same = replace(wanted, setting=wanted.setting or identity.setting, jurisdiction=wanted.jurisdiction or identity.jurisdiction)
    fixed = replace(wanted, setting=identity.setting, jurisdiction=identity.jurisdiction, emotions=None)
    limit, asked = decide(fixed), decide(same)
    for inference in INFERENCES:
        if inference in asked.may - limit.may:
            key = "setting" if same.setting != identity.setting else "jurisdiction"
            found = same.setting if key == "setting" else same.jurisdiction
            raise PolicyError(
                f"policy.{key}",
                f"this device's identity is {limit.id}, and {found!r} would also permit {inference}: {limit.why[inference]}; "
                "a file or a twin may only narrow it, so enrol the device anew if it has moved",
            )
    return insist(same)


def _keys(needs: frozenset[Declared]) -> str:
    return " or ".join(sorted("staff_out_of_view" if need == "staff_out_of_view" else f'purpose = "{need}"' for need in needs))
