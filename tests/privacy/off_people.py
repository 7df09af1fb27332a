"""Protections of the people in view: policy, cards, the lamp, and what the processes may do."""

from __future__ import annotations

from typing import Final

from tests.privacy.off import Off

CORE: Final = "unit/test_process.py::test_there_is_no_core_dump"
UNITS: Final = "privacy/test_processes.py::test_the_unit_of_the_camera_has_no_network_and_that_of_the_network_no_camera"
SOURCES: Final = "privacy/test_types.py::test_only_privacy_makes_a_report_and_frames_are_seen_only_where_they_live"
RUNNING: Final = (
    "privacy/test_processes.py::"
    "test_a_running_process_has_forbidden_its_core_dump_and_with_pictures_the_caches_that_keep_freed_rows"
)

PEOPLE: Final = (
    Off(
        "a forbidden model is not opened",
        "device/watch.py",
        'if "emotion" not in settings.policy.decided.may:',
        "if False:",
        "unit/test_policy.py::test_where_emotions_are_forbidden_the_file_of_their_model_is_never_opened",
    ),
    Off(
        "settings that ask for more are refused",
        "device/settings_policy.py",
        '        insist(Stated(**{**info.data, "emotions": emotions}))\n',
        "        pass\n",
        "unit/test_policy.py::test_a_settings_file_that_asks_for_more_is_refused_with_the_article_and_its_line",
    ),
    Off(
        "a twin may only narrow",
        "device/policy.py",
        "if inference in asked.may - limit.may:",
        "if False:",
        "unit/test_policy.py::test_a_twin_that_wants_to_widen_the_policy_is_rejected_with_path_and_reason",
    ),
    Off(
        "an unknown jurisdiction is the strictest",
        "device/policy.py",
        "if self.setting is None or code not in KNOWN:",
        "if self.setting is None:",
        "unit/test_policy.py::test_where_setting_or_jurisdiction_is_not_known_people_are_counted_and_no_more",
    ),
    Off(
        "the signed identity fixes setting and jurisdiction",
        "device/cli.py",
        "bind(settings_file.load(file))\n        return",
        "settings_file.load(file)\n        return",
        "unit/test_bound.py::test_watching_does_not_start_with_a_file_that_asks_for_more_than_the_identity",
    ),
    Off(
        "and its signature is checked",
        "device/bound.py",
        "if not _signed(own, others, authority):",
        "if False:",
        "unit/test_bound.py::test_a_certificate_that_somebody_else_has_signed_counts_nothing",
    ),
    Off(
        "a card keeps faces within reach out",
        "device/consent.py",
        "declined.append(face)",
        "welcome.append(face)",
        "unit/test_consent.py::test_a_face_within_reach_of_a_card_is_left_out_and_one_beyond_is_not",
    ),
    Off(
        "the lamp is on while frames are read",
        "device/looking.py",
        "        self._controls.lamp(True)\n",
        "        pass\n",
        "unit/test_looking.py::test_the_lamp_is_on_while_frames_are_read_and_off_afterwards",
    ),
    Off("no core dump: its size", "device/process.py", "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", "pass", CORE),
    Off("no core dump: not dumpable", "device/process.py", "library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0", "True", CORE),
    Off(
        "`mien watch` asks for both",
        "device/cli.py",
        "    protect(pixels=True)\n    settings, clock = read()",
        "    settings, clock = read()",
        RUNNING,
    ),
    Off("no network for the camera", "systemd/mien-watch.service", "PrivateNetwork=yes\n", "", UNITS),
    Off("no camera for the network", "systemd/mien-send.service", "PrivateDevices=yes\n", "", UNITS),
    Off(
        "one maker of reports",
        "device/outbox.py",
        "from device.contract import Envelope\n",
        "from device.contract import Envelope, Report\nmake = Report\n",
        SOURCES,
    ),
    Off(
        "upward messages are closed",
        "device/contract.py",
        'model_config = ConfigDict(extra="forbid", frozen=True',
        "model_config = ConfigDict(frozen=True",
        "unit/test_contract.py::test_the_schema_is_closed_upwards",
    ),
)
