"""The examples of `schemas/examples`, and every required thing that can be taken away from one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from schemas.documents import RECORDS
from schemas.events import EVENT, EVENT_TYPES

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "schemas/examples"
JSON: Final = ROOT / "schemas/json"
TYPES: Final = sorted(EVENT_TYPES)
ADAPTERS: Final[Mapping[str, TypeAdapter[Any]]] = {
    "contact-event": EVENT,
    **{name: TypeAdapter(model) for name, model in RECORDS.items()},
}
PLACES: Final = {name: name for name in RECORDS} | {"policy-calendar": "policy"}
"""Examples of records other than events, and the schema that each follows."""


def structured(kind: str) -> dict[str, Any]:
    """A contact event with its envelope."""
    return _loaded(f"events/{kind}.json")


def binary(kind: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the data of a contact event."""
    record = _loaded(f"events/{kind}.binary.json")
    return record["headers"], record["value"]


def example(name: str) -> dict[str, Any]:
    """Any other record."""
    return _loaded(f"{name}.json")


def _loaded(name: str) -> Any:
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))


@cache
def validator(schema: str) -> Draft202012Validator:
    """The committed JSON Schema of a record, instants and dates asserted too."""
    document = json.loads((JSON / f"{schema}.json").read_text(encoding="utf-8"))
    return Draft202012Validator(document, format_checker=Draft202012Validator.FORMAT_CHECKER)


Where = tuple[str | int, ...]


def required_paths(schema: str, content: Any) -> list[Where]:
    """Paths of everything in `content` that its schema requires, nested records too."""
    check = validator(schema)
    return list(_required(check, check.schema, content, ()))


def _required(check: Draft202012Validator, schema: Any, content: Any, path: Where) -> Iterator[Where]:
    if "$ref" in schema:
        schema = check.schema["$defs"][schema["$ref"].rpartition("/")[2]]
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if check.evolve(schema={**choice, "$defs": check.schema.get("$defs", {})}).is_valid(content):
            yield from _required(check, choice, content, path)
            break
    if isinstance(content, dict):
        yield from ((*path, name) for name in schema.get("required", ()))
        inner = schema.get("additionalProperties")
        for name, value in content.items():
            shape = schema.get("properties", {}).get(name, inner)
            if isinstance(shape, dict):
                yield from _required(check, shape, value, (*path, name))
    if isinstance(content, list) and content and "items" in schema:
        yield from _required(check, schema["items"], content[0], (*path, 0))


def without(content: Any, path: Sequence[str | int]) -> Any:
    """A copy that lacks what is at `path`."""
    changed = copy.deepcopy(content)
    here = changed
    for part in path[:-1]:
        here = here[part]
    del here[path[-1]]
    return changed


def put(content: Any, path: Sequence[str | int], value: Any) -> Any:
    """A copy with another value at `path`."""
    changed = copy.deepcopy(content)
    here = changed
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return changed


def dotted(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path))
