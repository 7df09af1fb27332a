"""The contract as JSON Schema, for everybody who does not speak Python."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from device.contract import SCHEMA, topic
from device.contract_messages import ENROLMENT, EVERY

NAMED: Final[dict[str, type[BaseModel]]] = {**EVERY, **ENROLMENT}  # what one message can be asked for by


def json_schema(name: str | None = None) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one message, or of any of them, with the topic of each under ``x-topics``.

    Raises:
        KeyError: There is no such message.
    """
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    if name is not None:
        return {**dialect, **NAMED[name].model_json_schema(mode="serialization", by_alias=True)}
    topics = {topic("{device}", name): message for name, message in EVERY.items()} | ENROLMENT
    definitions: dict[str, Any] = {}
    for message in topics.values():
        own = message.model_json_schema(mode="serialization", by_alias=True, ref_template="#/$defs/{model}")
        definitions.update(own.pop("$defs", {}))
        definitions[message.__name__] = own
    references = {name: {"$ref": f"#/$defs/{message.__name__}"} for name, message in topics.items()}
    return {
        **dialect,
        "title": f"mien contract, version {SCHEMA}",
        "anyOf": [{"$ref": name} for name in dict.fromkeys(one["$ref"] for one in references.values())],
        "x-topics": references,
        "$defs": definitions,
    }
