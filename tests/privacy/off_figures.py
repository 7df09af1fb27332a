"""Protections of the figures: what a report may say, and what its noise costs."""

from __future__ import annotations

from typing import Final

from tests.privacy.off import Off

RULES: Final = "device/privacy.py"
LEDGER: Final = "device/ledger.py"
SETTINGS_TEST: Final = "unit/test_settings.py::test_a_mistake_is_named_with_its_file_line_key_and_what_was_expected"
ADVERSARIAL: Final = "privacy/test_payload.py::test_ten_thousand_adversarial_windows_without_noise_leak_nothing_below_k"

FIGURES: Final = (
    Off(
        "without budget there is no figure",
        RULES,
        'if terms.noise == "off" or means.charge():',
        "if True:",
        "unit/test_privacy.py::test_without_budget_there_is_no_noise_and_no_figure",
    ),
    Off(
        "every cell is noised",
        RULES,
        'cell: _figure(draft, cell) + means.noise(epsilon["emotion"])',
        "cell: _figure(draft, cell)",
        "unit/test_privacy.py::test_every_cell_is_noised_once_and_people_is_their_sum",
    ),
    Off(
        "so is the number of those who said no",
        RULES,
        '_opted_out(draft) + means.noise(epsilon["opted_out"])',
        "_opted_out(draft)",
        "unit/test_withheld.py::test_with_noise_those_who_opted_out_are_a_noised_cell_of_their_own",
    ),
    Off(
        "k",
        RULES,
        'return replace(draft, withheld="k") if draft.people < terms.k else draft',
        "return draft",
        "unit/test_privacy.py::test_fewer_than_k_people_are_withheld_and_not_even_counted",
    ),
    Off(
        "small cells are left out",
        RULES,
        "not any(0 < n < terms.k for n in draft.cells.values() if n is not None)",
        "True",
        ADVERSARIAL,
    ),
    Off("and a complement with them", RULES, "None if n == smallest else n for", "n for", ADVERSARIAL),
    Off(
        "few objections are left out",
        RULES,
        'few = terms.noise == "off" and _opted_out(draft) < terms.k',
        "few = False",
        "unit/test_withheld.py::test_without_noise_fewer_than_k_who_opted_out_are_left_out",
    ),
    Off(
        "what the policy forbids is withheld",
        RULES,
        'return draft if set(draft.cells) == set(terms.cells) else replace(draft, withheld="policy")',
        "return draft",
        "unit/test_withheld.py::test_emotions_that_the_policy_forbids_are_withheld_should_they_get_so_far",
    ),
    Off(
        "true counts are erased",
        RULES,
        "            window.erase()\n",
        "            pass\n",
        "unit/test_privacy.py::test_the_counts_are_erased_whether_published_held_or_withheld",
    ),
    Off(
        "a rule that fails publishes nothing",
        RULES,
        "except Exception:",
        "except KeyError:",
        "unit/test_privacy.py::test_a_rule_that_fails_publishes_nothing_and_tells_no_figure",
    ),
    Off(
        "and its error tells no figure",
        RULES,
        ") from None",
        ") from error",
        "unit/test_privacy.py::test_a_rule_that_fails_publishes_nothing_and_tells_no_figure",
    ),
    Off(
        "frame rate and coverage are coarse",
        "device/terms.py",
        "round(20 * coverage) / 20",
        "round(coverage, 2)",
        "unit/test_privacy.py::test_frame_rate_and_coverage_are_told_in_steps_so_that_they_follow_no_single_face",
    ),
    Off(
        "time without a camera is no zero, and costs no ε",
        RULES,
        "    say_that_nothing_was_seen,\n",
        "",
        "unit/test_watcher_blind.py::test_an_unwatched_window_costs_nothing_and_is_not_held",
    ),
    Off(
        "heat, load and memory are told once an hour",
        "device/vitals.py",
        "if now >= self._ends:",
        "if True:",
        "unit/test_vitals.py::test_when_within_the_hour_the_crowd_came_does_not_show",
    ),
    Off(
        "a light that goes out is not told at once",
        "device/cameras/_guard.py",
        "DARK: Final = 3600.0",
        "DARK: Final = 0.0",
        "unit/test_guard.py::test_a_light_that_goes_out_is_told_after_an_hour_only",
    ),
    Off(
        "that a light went on is told with its window and no finer",
        "device/watcher.py",
        'if self._blind != "dark":',
        "if True:",
        "unit/test_watcher_blind.py::test_that_a_light_went_on_or_off_is_told_by_the_window_and_no_finer",
    ),
    Off(
        "time without consent counts as watched",
        "device/window.py",
        "if self._idle or now",
        "if now",
        "unit/test_window.py::test_the_time_in_which_a_camera_opens_for_somebody_who_consents_counts_as_watched",
    ),
    Off(
        "one track, one figure",
        "device/tracks.py",
        "            self.declined = True\n",
        "",
        "unit/test_consent.py::test_somebody_who_puts_the_card_away_again_counts_once_as_one_who_said_no",
    ),
    Off(
        "groups share one ε",
        "device/contract.py",
        "per_track=1, share=Fraction(1))]  # a track",
        "per_track=1, share=Fraction(2))]  # a track",
        "unit/test_contract.py::test_every_published_group_declares_what_a_track_adds_and_all_of_them_share_one_epsilon",
    ),
    Off(
        "the noise has the exact probabilities",
        "device/noise.py",
        "if negative and size == 0:",
        "if False:",
        "unit/test_noise.py::test_noise_has_the_exact_probabilities",
    ),
    Off(
        "ε is never a float",
        "device/epsilon.py",
        "value.text if isinstance(value, Number) else str(value)",
        "float(value)",
        "unit/test_settings.py::test_an_epsilon_is_read_as_it_is_written_and_never_through_a_float",
    ),
    Off(
        "the charge is on disk first",
        LEDGER,
        "        durable.write(self.file, content",
        "        False and durable.write(self.file, content",
        "unit/test_ledger.py::test_a_charge_is_on_disk_when_it_returns",
    ),
    Off(
        "and before there is noise",
        RULES,
        "    charge_the_ledger,\n    add_noise,\n",
        "    add_noise,\n    charge_the_ledger,\n",
        "unit/test_ledger.py::test_the_ledger_is_charged_before_there_is_a_report",
    ),
    Off(
        "a damaged ledger is not believed",
        LEDGER,
        "return found.page if found.sha256 == found.page.sum() else None",
        "return found.page",
        "unit/test_ledger.py::test_a_damaged_file_is_set_aside_and_the_budget_begins_empty",
    ),
    Off(
        "two windows are saved at most",
        LEDGER,
        "min(page.left + earned, self._budget.most)",
        "page.left + earned",
        "unit/test_ledger.py::test_no_more_than_two_windows_are_ever_saved",
    ),
    Off(
        "another boot earns nothing",
        LEDGER,
        "if page.boot == self._clock.boot else 0",
        "",
        "unit/test_ledger.py::test_another_boot_keeps_what_was_left_and_earns_nothing_for_the_time_between",
    ),
    Off(
        "one process per ledger",
        LEDGER,
        "fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "unit/test_ledger.py::test_a_second_process_on_the_same_ledger_is_75",
    ),
    Off("a day's budget must fit", "device/epsilon.py", "if budget.needed > budget.day:", "if False:", SETTINGS_TEST),
    Off("ε has a range", "device/epsilon.py", 'if not Decimal("0.01") <= epsilon <= 5:', "if False:", SETTINGS_TEST),
    Off(
        "k has a range", "device/settings.py", 'if not (2 if info.data.get("demo") else 3) <= k <= 100:', "if False:", SETTINGS_TEST
    ),
    Off(
        "noise is off in research and demonstrations alone",
        "device/settings.py",
        'if noise == "off" and not known.get("demo")',
        'if False and not known.get("demo")',
        SETTINGS_TEST,
    ),
)
