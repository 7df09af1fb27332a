"""Whatever is named on the command line: one line that says what is wrong, and never a traceback, nor a wait for ever."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from device import durable, metrics
from device.cli import main
from device.commands._files import check_writable, write
from device.errors import BrokerError, OutputError
from device.model_store import may_change
from device.publishers._broker import read_password, tls_context
from device.settings import BrokerSettings, parse
from tests.build import settings_text
from tests.conftest import ROOT

PATHS: dict[str, Callable[[Path], Path | str]] = {
    "a folder": lambda folder: folder,
    "random bytes": lambda folder: made(folder / "random", os.urandom(5000)),
    "zeros": lambda folder: made(folder / "zeros", bytes(100)),
    "a link to itself": lambda folder: linked(folder / "loop"),
    "a pipe that nobody writes to": lambda folder: piped(folder / "pipe"),
    "below a file": lambda folder: made(folder / "file", b"") / "below",
    "in a folder that is not there": lambda folder: folder / "no" / "such",
    "a device without an end": lambda folder: device(folder / "zero", 5),
    "a name that is too long": lambda folder: folder / ("x" * 300),
    "no name": lambda _: "",
}
READ = ("egress --settings", "settings check --settings", "settings explain --settings", "pause --settings", "soak --again")
WRITTEN = (
    "demo --truth",
    "demo --picture",
    "soak --hours 0.001 --plot",
    "notice --settings GOOD --out",
    "egress --settings GOOD --known",
)
TAKEN = ("soak --hours 0.001 --log",)


def made(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def linked(path: Path) -> Path:
    path.symlink_to(path)
    return path


def piped(path: Path) -> Path:
    os.mkfifo(path)
    return path


def device(path: Path, minor: int) -> Path:
    """A memory device of our own: 3 is null, 5 zero, 7 full. Should one be replaced, it is not this machine's."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        path.open("rb").close()
    except PermissionError:
        pytest.skip("needs root, to make a device")
    return path


def good(folder: Path) -> Path:
    file = folder / "good.toml"
    file.write_text(settings_text(folder / "device") + '[notice]\nresponsible = "Corner Shop"\ncontact = "shop@corner.example"\n')
    return file


def run(folder: Path, words: str, path: Path | str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(good(folder)) if word == "GOOD" else word for word in words.split()] + [str(path)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.timeout(30)
@pytest.mark.parametrize("what", PATHS)
@pytest.mark.parametrize("words", READ)
def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, words: str, what: str) -> None:
    code, said = run(tmp_path, words, PATHS[what](tmp_path))

    assert code in (2, 78)
    assert "mien: " in said or "Error: " in said


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "what", ["a folder", "below a file", "in a folder that is not there", "a name that is too long", "no name"]
)
@pytest.mark.parametrize("words", [*WRITTEN, *TAKEN])
def test_what_cannot_be_written_is_refused_in_words(tmp_path: Path, words: str, what: str) -> None:
    code, said = run(tmp_path, words, PATHS[what](tmp_path))

    if words.endswith("--known") and what == "in a folder that is not there":
        assert code == 0  # the folder is made
        return
    assert code in (2, 73)
    assert "mien: " in said or "Error: " in said


def test_a_list_of_further_hosts_that_is_no_file_is_refused(tmp_path: Path) -> None:
    path = piped(tmp_path / "pipe")

    refused = f"mien: {path}: cannot be read (not a regular file); make it readable for this user\n"
    assert run(tmp_path, "egress --settings GOOD --also", path) == (78, refused)


def test_a_file_that_is_named_is_read_through_links_and_up_to_a_limit(tmp_path: Path) -> None:
    made(tmp_path / "file", b"12345")
    (tmp_path / "link").symlink_to("file")

    assert durable.read_given(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        durable.read_given(tmp_path / "link", 4)


def test_what_is_written_replaces_a_file_and_leaves_a_link_what_it_is(tmp_path: Path) -> None:
    made(tmp_path / "file", b"before")
    (tmp_path / "link").symlink_to("file")

    write(tmp_path / "link", "äfter")

    assert (tmp_path / "file").read_text(encoding="utf-8") == "äfter"
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    null, full = device(tmp_path / "null", 3), device(tmp_path / "full", 7)

    write(null, "x")
    with pytest.raises(OutputError, match=r"full: cannot be written \(No space left"):
        write(full, "x")
    with pytest.raises(OSError, match="a device, not a file"):
        durable.write(null, b"x")
    code, said = run(tmp_path, "egress --settings GOOD --known", null)
    assert (code, "a device, not a file" in said) == (73, True)
    with pytest.raises(OutputError, match="metrics_socket"), metrics.served(null):
        pass

    assert null.is_char_device()
    assert full.is_char_device()


@pytest.mark.parametrize(
    "what", ["a folder", "below a file", "in a folder that is not there", "a name that is too long", "a link to itself"]
)
def test_what_cannot_be_written_is_found_before_hours_have_passed(tmp_path: Path, what: str) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(Path(PATHS[what](tmp_path)))


def test_what_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    check_writable(None)
    check_writable(tmp_path / "new")
    check_writable(made(tmp_path / "there", b"x"))

    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("key", ["ca_file", "certificate_file", "key_file"])
def test_a_pipe_is_no_certificate_and_not_waited_for(tmp_path: Path, key: str) -> None:
    files = {"certificate_file": made(tmp_path / "certificate", b""), "key_file": made(tmp_path / "key", b"")}
    settings = BrokerSettings.model_validate({"url": "mqtts://127.0.0.1:1", **files, key: piped(tmp_path / "pipe")})

    with pytest.raises(BrokerError, match=r"cannot be used for TLS \(not a regular file\)"):
        tls_context(settings)


@pytest.mark.timeout(30)
def test_a_pipe_is_no_password_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"cannot read the password \(not a regular file\)"):
        read_password(piped(tmp_path / "pipe"))


def test_a_root_of_models_that_cannot_even_be_looked_for_is_none(tmp_path: Path) -> None:
    text = settings_text(tmp_path).replace("[broker]", f'[models]\nroot_file = "/{"x" * 300}"\n[broker]\npublisher = "stdout"')
    made(tmp_path / "s.toml", text.encode())

    words = [sys.executable, "-m", "device.entry", "send", "--once", "--settings", str(tmp_path / "s.toml")]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)

    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert not may_change(parse(text, "s.toml"))


@pytest.mark.parametrize(
    "line", ['{"begin": 5}', '{"begin": {}}\n{"end": 7}', '{"begin": {}}\n{"at": "x"}\n{"at": {}}', '["begin"}']
)
def test_a_log_that_somebody_has_changed_is_refused_in_words(tmp_path: Path, line: str) -> None:
    code, said = run(tmp_path, "soak --again", made(tmp_path / "log.jsonl", line.encode() + b"\n"))

    assert code == 2
    assert "log" in said.removeprefix("mien: ")
