"""The picture of rehearsals, and the page that shows it."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from provisioning.simulate.figures import missed
from provisioning.simulate.plot import plot, round_up, table
from tests.conftest import ROOT

DATA = ROOT / "docs" / "fleet-scale.jsonl"
REHEARSALS = [json.loads(line) for line in DATA.read_text().splitlines()]
PAGE = (ROOT / "docs" / "fleet-scale.md").read_text()


@given(st.floats(0.01, 1e6))
def test_an_axis_ends_at_a_round_number_that_is_not_much_too_large(value: float) -> None:
    assert value <= round_up(value) * (1 + 1e-9) <= 2.001 * value


def test_each_rehearsal_has_a_line_in_both_panels_that_stays_inside() -> None:
    drawn = ET.fromstring(plot(REHEARSALS))
    lines = [one for one in drawn.iter() if one.tag.endswith("polyline")]

    assert len(lines) == 2 * len(REHEARSALS)
    width, height = (float(drawn.attrib[name]) for name in ("width", "height"))
    points = [tuple(map(float, point.split(","))) for line in lines for point in line.attrib["points"].split()]
    assert all(0 < x < width and 0 < y < height for x, y in points)


def test_the_picture_in_the_docs_is_what_the_program_makes_of_the_figures(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "provisioning.simulate.plot", str(DATA), str(tmp_path / "made.svg")]
    ended = subprocess.run(words, check=True, cwd=ROOT, capture_output=True, text=True)

    assert ended.stdout == table(REHEARSALS)
    assert (tmp_path / "made.svg").read_text() == (ROOT / "docs" / "images" / "fleet-scale.svg").read_text()


def test_the_table_in_the_docs_has_the_figures_that_were_measured() -> None:
    assert table(REHEARSALS) in PAGE


def test_what_was_measured_is_what_must_be_reached() -> None:
    assert {one["devices"] for one in REHEARSALS} >= {100, 1000}
    assert all(missed(one) == [] for one in REHEARSALS)
