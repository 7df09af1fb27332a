"""Reading a message that came over the wire: size, then depth, then content. Whatever it is, it is a message or a few words.

Both sides use this for everything that arrives, so that nothing is parsed that could cost more than its 4 KiB.
"""

from __future__ import annotations

from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from device.contract import MAX_MESSAGE_BYTES

MAX_DEPTH: Final = 16  # of arrays and objects; the deepest message of the contract has 5

M = TypeVar("M", bound=BaseModel)


def read(kind: type[M], payload: bytes) -> M | str:
    """A message of this kind, or what is wrong with it: a few words without its content, fit for a log or an answer."""
    if len(payload) > MAX_MESSAGE_BYTES:
        return f"{len(payload)} bytes, where {MAX_MESSAGE_BYTES} are allowed"
    if depth(payload) > MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH}"
    try:
        return kind.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        said = f"{'.'.join(map(str, first['loc']))[:60] or 'JSON'}: {first['msg'][:120]}"
        return "".join(letter if letter.isprintable() else "\ufffd" for letter in said)  # a sender names its own keys


def depth(payload: bytes) -> int:
    """How deep arrays and objects are nested, at most; brackets within strings do not count."""
    deepest = level = 0
    text = escaped = False
    for byte in payload:
        if text:
            text = escaped or byte != 0x22
            escaped = not escaped and byte == 0x5C
        elif byte == 0x22:
            text = True
        elif byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest
