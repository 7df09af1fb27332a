"""A claim as text that fits into a QR code: what a fleet shows and a device reads. Pure.

``MIEN1:`` and base45 (RFC 9285), whose 45 characters a QR code packs best, of zlib (RFC 1950) with a dictionary: a sample of both
certificates, since most of each is the same in every fleet. That makes about 450 bytes of 920, and a code of 89 x 89 modules that a
camera of 640 x 480 reads; the certificates as they are would need 117 x 117.
"""

from __future__ import annotations

import re
import zlib
from base64 import b85decode
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "MIEN1:"
KEY_BYTES: Final = 32
MAX_BYTES: Final = 4096  # unpacked
ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DICTIONARY: Final = b85decode(
    "FoFS*FoFR#paTK{0s<6$$IQf*fH{v)Y{tEfDcbO9QreU-3I+%&hDgpm1Ooyv6fqJo5C#KP1Op5SZE0n0AaZYSbTA$l4Kg+{F)=nUH!?FZI9eACG&V6YGBY"
    "qYGBYtaS}+tb5-<=3162eA3<+&%Wo{sHZ*O!kSuhg@2P%e0&OHJF1_&yKNX|V20S5y@00ig$u5%&&5cyx^WB1d%ieI@04%eY{lo7DXvJf>-kI(4q4^s;Po"
    "32Xg5y+zp*M*-NcUe0)^{)Pxl<;?Qu7IOvFk~<i1_M<c69EDL1PCw&0RjI40Rb=$1_M<c4*>!H1Ox*D0R}J~1_M<c4g?ki6m4=jz4+hLZnOChB{)}&JhuC"
    "l$S@xU163U(1Q;+DfD~<VIlcJb({8i*4<$HPjXbvdmB=s(1_&yKNX|V30|Em{05C=ZApnFSxw&wJ*xuyi004`j9Q&4uaLGR=G!Z+QL(ws=0crvv0EdDl+C"
    ";mU8~|hcc;h0}(?VdDDd(ummdzA?nM!WsBQSyi;4p##hM)ri0RjRPTci<F8=K`F0(--3G?b(d@oTg}FbW0;DuzhTJp=;+Fc&cuFcSs?RRjYJ3~gy;ZXjuM"
    "b9HHMXD}WY4Kg+{F)=nUH!?FZIa(JDGBz<WGBYqYGB`0gS}-RuB`_lf162eA3><A~Wo|8HZgOvIY%g{(FLPmSaBO8RFfcGMFfcG#FcSs`DuzhTJpus+2r7"
    "n1&OHMG2LnO?1R(K+(TH@DKJ@}}`@3qR@)ZQKkay}Ta{Vtj&n~c!RL8GDS(+`m2`*wc^wR@Sumo%b9RZC%>kwg1tX|3Ha-)HtFoB#f3<d*L9TNco{{#Xs0"
    "5A>)163Ul0RjI61OoyGfG`~f163Uk1QrAo%9I8QUOGps{fBmR)36Z@?@rWBFdqg3RUIP)7%&!q6fp<XeVwR@0HpuXP2>(eDcwh(Trd*`163U*1Pm|=1_&z"
    "#0R;sI0|GE71_M<c5d<JG9)=usa&9_pX=QFYVqtV+XgYIYZE$R5E-)}KFfcGM3I+%&hDgpm1OoyCNB}TJ0w4=do<a1sWPxFqCCiQui`h`EK+*F-W{YCtCM"
    "=1XAYB3>0Mp2vpb7{!tu>RQIq@x)_*8r#Z32a~3LT)N5~xJE`T"
)  # a root and a claim certificate of a fleet that does not exist


@dataclass(frozen=True, slots=True)
class ClaimCode:
    """What the text holds.

    Attributes:
        key: The private key, EC P-256: its number, 32 bytes, the most significant first.
        certificate: The claim, DER.
        root: The fleet's root certificate, DER.
        serial: Of the one box that it is for; ``None`` when the fleet does not say.
    """

    key: bytes
    certificate: bytes
    root: bytes
    serial: str | None = None


def pack(code: ClaimCode) -> str:
    """The text for a QR code."""
    parts = (code.certificate, code.root, (code.serial or "").encode())
    content = code.key + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    packer = zlib.compressobj(9, zdict=DICTIONARY)
    return PREFIX + _base45(packer.compress(content) + packer.flush())


def unpack(text: str) -> ClaimCode:
    """Read the text of any QR code, however hostile.

    Raises:
        ValueError: It is no claim; the message says what is wrong in a few words.
    """
    if not text.startswith(PREFIX):
        raise ValueError(f"it does not begin with {PREFIX}")
    try:
        unpacker = zlib.decompressobj(zdict=DICTIONARY)
        content = unpacker.decompress(_bytes(text.removeprefix(PREFIX)), MAX_BYTES)
    except zlib.error:
        raise ValueError("it is damaged") from None
    if not unpacker.eof:
        raise ValueError("it is cut off, or too long")
    key, rest, parts = content[:KEY_BYTES], content[KEY_BYTES:], list[bytes]()
    for _ in range(3):
        length = int.from_bytes(rest[:2], "big")
        parts.append(rest[2 : 2 + length])
        if len(rest) < 2 + length:
            raise ValueError("it is cut off")
        rest = rest[2 + length :]
    serial = parts[2].decode("ascii", "replace")
    if rest or len(key) != KEY_BYTES or (serial and not SERIAL.fullmatch(serial)):
        raise ValueError("it holds something else")
    return ClaimCode(key, parts[0], parts[1], serial or None)


def _base45(content: bytes) -> str:
    digits: list[int] = []
    for start in range(0, len(content), 2):
        part = content[start : start + 2]
        number = int.from_bytes(part, "big")
        digits += [number % 45, number // 45 % 45, number // 45**2][: len(part) + 1]
    return "".join(ALPHABET[digit] for digit in digits)


def _bytes(text: str) -> bytes:
    digits = [ALPHABET.find(letter) for letter in text]
    if -1 in digits:
        raise ValueError("it has letters that such a code has not")
    content = b""
    for start in range(0, len(digits), 3):
        part = digits[start : start + 3]
        number, size = sum(digit * 45**place for place, digit in enumerate(part)), len(part) - 1
        if size == 0 or number >= 256**size:
            raise ValueError("it is damaged")
        content += number.to_bytes(size, "big")
    return content
