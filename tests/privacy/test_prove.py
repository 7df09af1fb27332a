"""`mien prove` as a customer runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from device.proof.claims import TRIALS

ROOT = Path(__file__).parents[2]


def prove(**environment: str) -> tuple[int, dict[str, object]]:
    words = [sys.executable, "-m", "device.cli", "prove", "--json", "--frames", "39"]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, cwd=ROOT, timeout=280, env={**os.environ, **environment}
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(300)
def test_every_claim_is_proven_or_says_why_it_could_not_be_tried() -> None:
    code, proof = prove()

    claims = proof["claims"]
    assert isinstance(claims, list)
    assert len(claims) == len(TRIALS)
    for claim in claims:
        if claim["hits"] is None:
            assert claim["ok"] == 0
            assert claim["evidence"].startswith("not tried: ")
        else:
            assert (claim["ok"], claim["hits"]) == (1, 0), claim
            assert claim["control"] > 0
    assert proof["ok"] == int(all(claim["ok"] for claim in claims))
    assert code == 1 - proof["ok"]


@pytest.mark.timeout(300)
def test_without_strace_and_namespaces_it_says_what_to_install_and_is_not_ok(tmp_path: Path) -> None:
    code, proof = prove(PATH=str(tmp_path))

    claims = proof["claims"]
    assert isinstance(claims, list)
    told = [claim["evidence"] for claim in claims if claim["hits"] is None]
    assert (code, proof["ok"]) == (1, 0)
    assert [text for text in told if "apt install strace" in text]
    assert [text for text in told if "apt install util-linux" in text]
