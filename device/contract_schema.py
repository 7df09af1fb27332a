"""The contract as JSON Schema, for everybody who does not speak Python."""

from __future__ import annotations

from typing import Any

from device.contract import MESSAGES, SCHEMA, topic


def json_schema(name: str | None = None) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one message, or of any of them, with the topic of each under ``x-topics``.

    Raises:
        KeyError: There is no such message.
    """
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    if name is not None:
        return {**dialect, **MESSAGES[name].model_json_schema(mode="serialization", by_alias=True)}
    definitions: dict[str, Any] = {}
    for message in MESSAGES.values():
        own = message.model_json_schema(mode="serialization", by_alias=True, ref_template="#/$defs/{model}")
        definitions.update(own.pop("$defs", {}))
        definitions[message.__name__] = own
    return {
        **dialect,
        "title": f"mien contract, version {SCHEMA}",
        "anyOf": [{"$ref": f"#/$defs/{message.__name__}"} for message in MESSAGES.values()],
        "x-topics": {topic("{device}", name): {"$ref": f"#/$defs/{m.__name__}"} for name, m in MESSAGES.items()},
        "$defs": definitions,
    }
