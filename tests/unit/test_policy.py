"""What may be inferred where, and that nothing received widens it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from device.errors import SettingsError
from device.jurisdictions import EU, KNOWN, MEMBERS
from device.policy import INFERENCES, SETTINGS, TABLE, VERSION, PolicyError, Setting, Stated, decide, insist, narrow, rule_for
from device.settings import parse

MEASURE = "the camera faces the window"


def may(setting: Setting | None, jurisdiction: str | None, **more: str) -> set[str]:
    return set(decide(Stated(setting, jurisdiction, **more)).may)  # type: ignore[arg-type]


def test_the_union_has_27_members_and_iso_3166_has_249_codes() -> None:
    assert len(MEMBERS) == 27
    assert len(KNOWN - {"EU", "EL"}) == 249


@pytest.mark.parametrize("code", sorted(EU))
@pytest.mark.parametrize("setting", ["classroom", "workplace"])
def test_no_emotion_is_inferred_in_a_classroom_or_a_workplace_of_the_union_whatever_is_declared(
    setting: Setting, code: str
) -> None:
    for purpose in (None, "safety", "medical"):
        policy = decide(Stated(setting, code, purpose=purpose, staff_out_of_view=MEASURE))

        assert "occupancy" in policy.may
        assert "emotion" not in policy.may
        assert "Art. 5(1)(f)" in policy.why["emotion"]


def test_the_attention_of_students_is_treated_as_their_emotion() -> None:
    assert "attention" not in may("classroom", "FR", purpose="safety")


@pytest.mark.parametrize("setting", ["classroom", "workplace"])
def test_fatigue_needs_a_declared_safety_purpose(setting: Setting) -> None:
    assert "fatigue" not in may(setting, "DE")
    assert "fatigue" not in may(setting, "DE", purpose="medical")
    assert "fatigue" in may(setting, "DE", purpose="safety")


@pytest.mark.parametrize("setting", ["retail", "kiosk"])
def test_a_shop_in_the_union_reads_emotions_only_with_a_measure_that_keeps_staff_out_of_view(setting: Setting) -> None:
    assert may(setting, "DE") == {"occupancy"}
    assert "emotion" in may(setting, "DE", staff_out_of_view=MEASURE)
    assert "staff_out_of_view" in decide(Stated(setting, "DE")).why["emotion"]


@pytest.mark.parametrize(
    ("setting", "jurisdiction"), [(None, None), ("retail", None), (None, "US"), ("retail", "XX"), ("research", "ATLANTIS")]
)
def test_where_setting_or_jurisdiction_is_not_known_people_are_counted_and_no_more(
    setting: Setting | None, jurisdiction: str | None
) -> None:
    policy = decide(Stated(setting, jurisdiction, purpose="safety", staff_out_of_view=MEASURE))

    assert policy.region == "unknown"
    assert set(policy.may) == {"occupancy"}


def test_unknown_rules_are_nowhere_wider_than_any_other() -> None:
    for setting in SETTINGS:
        for code in KNOWN:
            assert may(None, None) <= may(setting, code)


def test_every_line_of_the_table_has_a_source_and_every_question_an_answer() -> None:
    assert all(rule.source for rule in TABLE.values())
    for setting in (None, *SETTINGS):
        for code in (None, "DE", "US", "XX"):
            for inference in INFERENCES:
                assert rule_for(Stated(setting, code), inference).source
    for (region, _, _), rule in TABLE.items():
        if region == "EU":
            assert re.search(r"Regulation \(EU\) 20\d\d/\d+ (Art\. \d|recital \d)", rule.source)


def test_a_policy_names_its_setting_its_jurisdiction_and_its_version() -> None:
    assert decide(Stated("retail", "de")).id == f"retail/DE@{VERSION}"
    assert decide(Stated()).id == f"unknown/unknown@{VERSION}"
    assert decide(Stated("retail", "somewhere private")).id == f"retail/unknown@{VERSION}"


def test_insisting_on_what_is_forbidden_is_refused_with_the_article() -> None:
    with pytest.raises(PolicyError, match=r"Regulation \(EU\) 2024/1689 Art\. 5\(1\)\(f\)") as caught:
        insist(Stated("workplace", "IT", emotions=True))

    assert (caught.value.path, caught.value.exit_code) == ("policy.emotions", 78)


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (Stated("research"), "policy.setting"),
        (Stated("kiosk", staff_out_of_view=MEASURE), "policy.setting"),
        (Stated(jurisdiction="US"), "policy.jurisdiction"),
        (Stated("retail", "US"), "policy.setting"),
        (Stated(emotions=True), "policy.emotions"),
        (Stated(emotions=True, purpose="medical", staff_out_of_view=MEASURE), "policy.emotions"),
    ],
)
def test_a_twin_that_wants_to_widen_the_policy_is_rejected_with_path_and_reason(wanted: Stated, path: str) -> None:
    with pytest.raises(PolicyError, match=r"Art\. 5\(1\)\(f\)") as caught:
        narrow(Stated("classroom", "DE"), wanted)

    assert caught.value.path == path
    assert caught.value.reason


@pytest.mark.parametrize(
    "wanted", [Stated(), Stated("classroom", "FR"), Stated("kiosk"), Stated(emotions=False), Stated(jurisdiction="XX")]
)
def test_a_twin_may_narrow_the_policy(wanted: Stated) -> None:
    identity = Stated("retail", "US")

    assert narrow(identity, wanted).may <= decide(identity).may


def test_nothing_that_narrow_lets_pass_permits_more_than_the_identity() -> None:
    identities = [Stated(setting, code) for setting in SETTINGS for code in ("DE", "US", "XX")]
    for identity in identities:
        for wanted in identities:
            for measure in (None, MEASURE):
                asked = Stated(wanted.setting, wanted.jurisdiction, staff_out_of_view=measure)
                limit = decide(Stated(identity.setting, identity.jurisdiction, staff_out_of_view=measure)).may
                try:
                    assert narrow(identity, asked).may <= limit
                except PolicyError:
                    assert decide(asked).may - limit


def test_a_settings_file_that_asks_for_more_is_refused_with_the_article_and_its_line() -> None:
    with pytest.raises(SettingsError, match=r"^f:4: policy\.emotions: .*jurisdiction FR.*Art\. 5\(1\)\(f\)") as caught:
        parse('[policy]\nsetting = "classroom"\njurisdiction = "FR"\nemotions = true', "f")

    assert caught.value.exit_code == 78


def test_a_settings_file_may_ask_for_less() -> None:
    settings = parse('[policy]\nsetting = "retail"\njurisdiction = "US"\nemotions = false', "f")

    assert "emotion" not in settings.policy.decided.may


OPENED = """
import sys
from device.settings import parse
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
from device.watch import load_nets
nets = load_nets(parse(sys.argv[1], "f"))
print(sorted({name.rpartition("/")[2] for name in opened if name.endswith(".tflite")}), nets.hashes.emotion is None)
"""


@pytest.mark.parametrize(
    ("policy", "emotion_opened"),
    [('setting = "classroom"\njurisdiction = "FR"', False), ("", False), ('setting = "research"\njurisdiction = "FR"', True)],
)
def test_where_emotions_are_forbidden_the_file_of_their_model_is_never_opened(policy: str, emotion_opened: bool) -> None:
    words = [sys.executable, "-c", OPENED, f"[policy]\n{policy}"]
    ended = subprocess.run(words, check=True, capture_output=True, text=True, timeout=50, cwd=Path(__file__).parents[2])

    assert ("emotion.tflite" in ended.stdout) == emotion_opened  # the last case shows that the look sees an opening
    assert ("True" in ended.stdout) != emotion_opened
    assert "face" in ended.stdout
