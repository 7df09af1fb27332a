"""`mien prove` as a customer runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device.proof.claims import TRIALS
from device.proof.sandbox import without_network
from device.proof.tracer import NotTriedError, trace

ROOT = Path(__file__).parents[2]


def prove(*before: str) -> tuple[int, dict[str, object]]:
    words = [*before, sys.executable, "-m", "device.cli", "prove", "--json", "--frames", "39"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT, timeout=580)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(600)
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


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv, to give up rights")
@pytest.mark.timeout(600)
def test_an_ordinary_user_is_told_what_needs_root_and_the_rest_is_proven() -> None:
    code, proof = prove("setpriv", "--bounding-set=-all", "--inh-caps=-all")

    claims = proof["claims"]
    assert isinstance(claims, list)
    untried = [claim["evidence"] for claim in claims if claim["hits"] is None]
    assert (code, proof["ok"]) == (1, 0)
    assert all("run as root" in evidence for evidence in untried)
    assert all(claim["ok"] for claim in claims if claim["hits"] is not None)
    assert len(untried) <= 4


def test_without_strace_and_unshare_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotTriedError, match="apt install strace"):
        trace([sys.executable], tmp_path / "trace", env=os.environ, cwd=tmp_path, timeout=1)
    with pytest.raises(NotTriedError, match="apt install util-linux"):
        without_network([sys.executable])
