"""A device's signed identity fixes what may be inferred, and a file may only narrow it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device.bound import bind, bind_or_least
from device.errors import SettingsError
from device.policy import PolicyError
from device.settings import Settings, parse
from provisioning.authority import Authority
from tests.identities import PASSPHRASE, make_csr, store

Enrolled = Callable[..., Settings]
ROOT = Path(__file__).parents[2]
STAFF = 'staff_out_of_view = "the till is behind the camera"'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Authority]:
    folder = tmp_path_factory.mktemp("fleet")
    return folder, Authority.create(folder, PASSPHRASE)


@pytest.fixture
def enrolled(fleet: tuple[Path, Authority], tmp_path: Path) -> Enrolled:
    """Settings of a device that is enrolled with this setting and jurisdiction, and whose file has this under ``[policy]``."""

    def make(setting: str, jurisdiction: str, policy: str = "", *, ca: Path | None = None) -> Settings:
        key = ec.generate_private_key(ec.SECP256R1())
        chain = fleet[1].issue_device(make_csr("shelf-7", key), device="shelf-7", setting=setting, jurisdiction=jurisdiction)
        kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        files = store(tmp_path, "device", key.private_bytes(*kind), chain)
        return parse(
            f'[policy]\n{policy}\n[broker]\nurl = "mqtts://localhost"\nca_file = "{ca or fleet[0] / "ca.pem"}"\n'
            f'certificate_file = "{files.certificate}"\nkey_file = "{files.key}"',
            "f",
        )

    return make


def test_a_file_that_says_nothing_gets_what_the_identity_says(enrolled: Enrolled) -> None:
    settings = bind(enrolled("retail", "DE", STAFF))

    assert settings.policy.decided.id.startswith("retail/DE@")
    assert "emotion" in settings.policy.decided.may


@pytest.mark.parametrize(
    ("identity", "policy", "named"),
    [
        (("classroom", "FR"), 'setting = "research"', "policy.setting"),
        (("classroom", "FR"), 'setting = "research"\njurisdiction = "US"', "policy.setting"),
        (("workplace", "DE"), 'setting = "workplace"\njurisdiction = "US"', "policy.jurisdiction"),
        (("retail", "DE"), 'jurisdiction = "US"', "policy.jurisdiction"),
        (("shop", "DE"), 'setting = "retail"\njurisdiction = "DE"\n' + STAFF, "policy.setting"),
    ],
)
def test_a_file_that_asks_for_more_than_the_identity_is_refused_with_78(
    enrolled: Enrolled, identity: tuple[str, str], policy: str, named: str
) -> None:
    with pytest.raises(PolicyError, match=f"{named}: this device's identity is") as caught:
        bind(enrolled(*identity, policy))

    assert caught.value.exit_code == 78


def test_a_file_may_ask_for_less_than_the_identity(enrolled: Enrolled) -> None:
    settings = bind(enrolled("research", "US", 'setting = "classroom"\njurisdiction = "FR"'))

    assert settings.policy.decided.may == {"occupancy"}


def test_a_certificate_that_somebody_else_has_signed_counts_nothing(enrolled: Enrolled, tmp_path: Path) -> None:
    Authority.create(tmp_path / "other", PASSPHRASE)

    with pytest.raises(SettingsError, match="is not signed by"):
        bind(enrolled("research", "US", ca=tmp_path / "other" / "ca.pem"))


def test_a_certificate_that_cannot_be_read_is_refused_and_says_that_it_is_no_secret(enrolled: Enrolled, tmp_path: Path) -> None:
    settings = enrolled("research", "US")
    (tmp_path / "device.pem").unlink()
    (tmp_path / "device.pem").mkdir()

    with pytest.raises(SettingsError, match="it is no secret: let the watching user read it"):
        bind(settings)


def test_a_file_that_is_no_certificate_is_refused(enrolled: Enrolled, tmp_path: Path) -> None:
    settings = enrolled("research", "US")
    (tmp_path / "device.pem").write_text("x")

    with pytest.raises(SettingsError, match="not a certificate in PEM; enrol the device anew"):
        bind(settings)


def test_a_device_that_is_not_enrolled_is_held_to_its_file(enrolled: Enrolled, tmp_path: Path) -> None:
    settings = enrolled("classroom", "FR", 'setting = "research"\njurisdiction = "FR"')
    (tmp_path / "device.pem").unlink()

    assert bind(settings) == settings
    assert bind(Settings()) == Settings()


def test_the_sending_process_tells_of_nothing_where_nobody_is_watched(enrolled: Enrolled) -> None:
    refused = bind_or_least(enrolled("classroom", "FR", 'setting = "research"'))
    good = bind_or_least(enrolled("retail", "DE"))

    assert refused.policy.decided.region == "unknown"
    assert good.policy.decided.id.startswith("retail/DE@")


def test_watching_does_not_start_with_a_file_that_asks_for_more_than_the_identity(enrolled: Enrolled, tmp_path: Path) -> None:
    settings, file = enrolled("classroom", "FR", 'setting = "research"'), tmp_path / "settings.toml"
    file.write_text(
        '[policy]\nsetting = "research"\n[camera]\nsource = "composite"\n[broker]\nurl = "mqtts://localhost"\n'
        f'ca_file = "{settings.broker.ca_file}"\ncertificate_file = "{settings.broker.certificate_file}"\n'
        f'key_file = "{settings.broker.key_file}"'
    )

    words = [sys.executable, "-m", "device.entry", "watch", "--settings", str(file)]
    ended = subprocess.run(words, check=False, capture_output=True, text=True, timeout=50, cwd=ROOT)

    assert ended.returncode == 78
    assert ended.stderr.startswith("mien: policy.setting: this device's identity is classroom/FR@")
    assert "Art. 5(1)(f)" in ended.stderr
