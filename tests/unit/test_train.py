"""The training on a handful of rows: it runs, is cut off, goes on, and teaches. Needs the extra [train]."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(300)  # two cores that others use too

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra [train]); the training cannot run")

from models import checkpoint, data, nets, precision, teach, train  # noqa: E402 (after the question whether PyTorch is there)
from models.data import DataError  # noqa: E402


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Faces of two emotions, drawn: a light bar above for one, below for the other."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 120, (300, 48, 48), dtype=np.uint8)
    votes = np.zeros((300, 10), np.uint8)
    for n in range(300):
        images[n, 6 : 16 if n % 2 else 4] = 230
        images[n, 4 if n % 2 else 32 : 44] += 40
        votes[n, n % 2] = 10
    np.savez(tmp_path / "rows.npz", images=images, votes=votes, names=[f"fer{n:07}.png" for n in range(300)])
    return tmp_path / "rows.npz"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["train", *map(str, words)])
    return train.main()


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_that_is_cut_off_goes_on_with_the_next_epoch(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    assert run(monkeypatch, "--data", rows, "--out", out, "--epochs", 2, "--batch", 32) == 0

    assert run(monkeypatch, "--data", rows, "--out", out, "--epochs", 3, "--batch", 32, "--resume") == 0

    assert [line["epoch"] for line in log(out)] == [1, 2, 3]
    assert isinstance(nets.load(out / "best.pt", "small"), nets.Net)


def test_a_run_of_another_network_is_not_gone_on_with(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(monkeypatch, "--data", rows, "--out", out, "--epochs", 1, "--batch", 32) == 0

    code = run(monkeypatch, "--data", rows, "--out", out, "--epochs", 2, "--batch", 32, "--resume", "--net", "large")

    assert code == 2
    assert re.search(r"train: .*last\.pt: cannot go on from it .*--net", capsys.readouterr().err)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoint.save({"a": torch.ones(3)}, tmp_path / "last.pt")
    before = (tmp_path / "last.pt").read_bytes()
    script = (
        "import resource, sys, torch; from pathlib import Path; from models import checkpoint;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from models.errors import run;"
        "sys.exit(run('train', lambda: checkpoint.save({'a': torch.ones(9999)}, Path(sys.argv[1]))))"
    )

    ended = subprocess.run([sys.executable, "-c", script, tmp_path / "last.pt"], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert re.fullmatch(r"train: .*: File too large\n", ended.stderr)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_too_few_rows_for_one_batch_are_said(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--data", rows, "--out", tmp_path / "run", "--batch", 1000) == 2

    assert "too few rows for batches of 1000" in capsys.readouterr().err


def test_a_view_that_is_damaged_is_named(tmp_path: Path) -> None:
    teach.path_of(tmp_path, 0).write_bytes(b"PK\x03\x04 half")

    with pytest.raises(DataError, match=r"view-000\.npz: damaged .*remove it"):
        teach.read(tmp_path, 4)


def test_a_pupil_learns_what_its_teacher_says(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, views = tmp_path / "run", tmp_path / "views"
    assert run(monkeypatch, "--data", rows, "--out", out, "--epochs", 1, "--batch", 32) == 0
    monkeypatch.setattr(
        sys, "argv", ["teach", "--data", str(rows), "--teachers", str(out / "best.pt"), "--views", "2", "--out", str(views)]
    )
    assert teach.main() == 0
    learned = int((~data.held_out(data.load(rows).names)).sum())
    assert teach.read(views, learned).images.shape == (2, learned, 48, 48)

    assert run(monkeypatch, "--data", rows, "--out", tmp_path / "pupil", "--views", views, "--epochs", 1, "--batch", 32) == 0

    assert log(tmp_path / "pupil")[0]["loss"] > 0


def test_views_of_other_rows_are_refused(tmp_path: Path) -> None:
    np.savez(teach.path_of(tmp_path, 0), images=np.zeros((3, 48, 48), np.uint8), answers=np.zeros((3, 8), np.float16))

    with pytest.raises(DataError, match="views of 3 rows, not 4"):
        teach.read(tmp_path, 4)


@pytest.mark.parametrize("content", [b"", b"no", b"root:x:0:0:root:/root:/bin/bash", b"PK\x03\x04 half"])
def test_a_file_that_is_no_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(content)

    with pytest.raises(DataError, match=r"best\.pt: not a checkpoint"):
        nets.load(tmp_path / "best.pt")


def test_uphill_the_loss_is_higher_and_afterwards_the_net_is_as_before() -> None:
    torch.manual_seed(0)
    net = nets.build("small").eval()
    batch = torch.rand(32, 1, 48, 48) * 2 - 1, torch.eye(8).repeat(4, 1), None
    before = train.gradients(net, batch, 0.0)
    state = {name: value.clone() for name, value in net.state_dict().items()}

    net.train()
    with train.uphill(net, 0.08):
        net.eval()
        higher = train.gradients(net, batch, 0.0)
        net.train()(batch[0])

    assert higher > before
    for name, value in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, state[name], rtol=0, atol=1e-6)


def test_sharpness_aware_training_learns_too(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"

    assert run(monkeypatch, "--data", rows, "--out", out, "--epochs", 3, "--batch", 32, "--sharp", 0.05) == 0

    assert log(out)[-1]["loss"] < log(out)[0]["loss"]


@pytest.mark.parametrize(("slower", "chosen"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_the_format_that_this_processor_is_faster_in_is_chosen_and_said(
    slower: str, chosen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "seconds", lambda fmt: 3.0 if fmt is getattr(torch, slower) else 1.5)
    precision.fastest.cache_clear()

    assert precision.fastest() is getattr(torch, chosen)

    assert f"computing in {chosen}, on this processor 2.0 times as fast as {slower}" in capsys.readouterr().out
    layer = torch.nn.Conv2d(1, 1, 3)
    with precision.computing_in(precision.fastest()):
        assert layer(torch.zeros(1, 1, 8, 8)).dtype is getattr(torch, chosen)
    precision.fastest.cache_clear()


def test_trying_both_formats_leaves_the_random_numbers_as_they_were() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()

    assert all(precision.seconds(fmt) > 0 for fmt in (torch.float32, torch.bfloat16))

    assert torch.equal(torch.random.get_rng_state(), before)
