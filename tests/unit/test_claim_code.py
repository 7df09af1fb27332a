"""A claim as a QR code: packed by the fleet, seen by a camera, unpacked by the device, whatever somebody else shows it."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import segno
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as some

from device.contract_claim import ALPHABET, DICTIONARY, MAX_BYTES, PREFIX, ClaimCode, _base45, _bytes, pack, unpack
from device.errors import IdentityError
from device.identity import Claim
from device.nets.codes import CodeReader
from device.observe import observe
from device.types import Face, Frame, Reading
from provisioning.authority import Authority
from provisioning.qr import claim_code, on_terminal, picture
from tests.identities import PASSPHRASE
from tests.pictures import seen


def made(folder: Path, serial: str | None = "SN-1") -> tuple[Authority, segno.QRCode]:
    authority = Authority.create(folder / "fleet", PASSPHRASE)
    key, chain = authority.issue_claim("berlin.0a1b2c", 5 / 1440)
    return authority, claim_code(key, chain, authority.ca_pem, serial)


def drawn(code: segno.QRCode, folder: Path) -> np.ndarray:
    picture(code, folder / "code.png")
    return np.asarray(cv2.imread(str(folder / "code.png"), cv2.IMREAD_GRAYSCALE), np.uint8)


def nobody(_: Frame, __: Face) -> Reading:
    raise AssertionError


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("side", "turned", "aslant"), [(440, 0, 0.0), (420, 6, 0.04), (380, 10, 0.05), (440, -8, 0.0)])
def test_a_camera_of_640_by_480_reads_the_code_of_any_fleet(
    tmp_path: Path, side: int, turned: float, aslant: float, seed: int
) -> None:
    authority, code = made(tmp_path)
    reader = CodeReader()
    pixels = seen(drawn(code, tmp_path), side=side, turned=turned, aslant=aslant, seed=seed)

    for _ in range(2):  # each of its two detectors
        seen_before = Frame(pixels.copy(), taken_at=0.0)
        observe(lambda frame=seen_before: frame, reader.look, nobody)  # type: ignore[misc]

    assert reader.text is not None
    claim = Claim.from_code(reader.text, tmp_path / "claim")
    assert (claim.name, claim.serial) == ("berlin.0a1b2c", "SN-1")
    assert (tmp_path / "claim" / "ca.pem").read_bytes() == authority.ca_pem
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "claim").iterdir()} == {0o600}
    assert int(code.version) <= 18


def test_the_picture_with_a_code_is_destroyed_like_any_other(tmp_path: Path) -> None:
    _, code = made(tmp_path)
    picture, reader = seen(drawn(code, tmp_path), turned=0, aslant=0), CodeReader()

    for _ in range(10):  # not every code is read at the first look
        pixels = picture.copy()
        observe(lambda shown=pixels: Frame(shown, taken_at=0.0), reader.look, nobody)  # type: ignore[misc]
        assert not pixels.any()

    assert reader.text is not None


def test_a_code_that_is_none_of_ours_is_read_and_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="not a claim"):
        Claim.from_code("https://example.org", tmp_path / "claim")
    assert not (tmp_path / "claim").exists()


def test_a_claim_whose_key_is_anothers_is_refused(tmp_path: Path) -> None:
    authority, _ = made(tmp_path)
    certificate, root = (
        x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        for pem in (authority.issue_claim("a", 1)[1], authority.ca_pem)
    )

    with pytest.raises(IdentityError, match="its key is another certificate's"):
        Claim.from_code(pack(ClaimCode(bytes(31) + b"\x07", certificate, root)), tmp_path / "claim")


@given(
    some.binary(min_size=32, max_size=32), some.binary(max_size=900), some.binary(max_size=900), some.sampled_from([None, "SN-1"])
)
def test_what_is_packed_is_unpacked(key: bytes, certificate: bytes, root: bytes, serial: str | None) -> None:
    code = ClaimCode(key, certificate, root, serial)

    text = pack(code)

    assert unpack(text) == code
    assert set(text) <= set(ALPHABET)


def test_base45_is_that_of_rfc_9285() -> None:
    assert [_base45(word) for word in (b"AB", b"Hello!!", b"base-45", b"ietf!")] == [
        "BB8",
        "%69 VD92EX0",
        "UJCLQE7W581",
        "QED8WEX0",
    ]
    assert _bytes("QED8WEX0") == b"ietf!"


@given(some.text(max_size=200) | some.text(ALPHABET, max_size=200) | some.binary(max_size=300).map(_base45))
def test_any_text_is_a_claim_or_a_few_words(text: str) -> None:
    for one in (text, PREFIX + text):
        with pytest.raises(ValueError, match=r"^it "):
            unpack(one)


def test_a_code_that_unpacks_without_end_is_refused() -> None:
    packer = zlib.compressobj(9, zdict=DICTIONARY)

    with pytest.raises(ValueError, match="too long"):
        unpack(PREFIX + _base45(packer.compress(bytes(100 * MAX_BYTES)) + packer.flush()))


def test_a_serial_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="something else"):
        unpack(pack(ClaimCode(bytes(32), b"", b"", "../x")))


def test_a_terminal_shows_it_and_a_picture_is_for_its_owner_alone(tmp_path: Path) -> None:
    _, code = made(tmp_path)
    picture(code, tmp_path / "code.svg")

    assert len(on_terminal(code).splitlines()) > 40
    assert (tmp_path / "code.svg").stat().st_mode & 0o777 == 0o600
    assert b"<svg" in (tmp_path / "code.svg").read_bytes()
