"""The JSON Schema of topology files, for editors: `topologies/topology.schema.json` is what `render` gives.

`python -m harness.schema > topologies/topology.schema.json` brings the file up to date after a change of the models.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from harness.topology import Topology

#: A name, not an address: the schema comes with lblab and is found by the path in a topology's first line.
SCHEMA_ID = "urn:lblab:topology"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of field names: editors show the name and the description."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def topology_schema() -> dict[str, Any]:
    """The JSON Schema of a topology file."""
    schema = Topology.model_json_schema(by_alias=True, mode="validation", schema_generator=_Untitled)
    definitions = schema.pop("$defs")
    return {"$schema": DIALECT, "$id": SCHEMA_ID, **schema, "title": "lblab topology", "$defs": definitions}


def render() -> str:
    """The schema as the text of a file."""
    return json.dumps(topology_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(render(), end="")
