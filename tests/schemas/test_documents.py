"""The published documents are those of the models, valid as what they claim to be, and agree with the topics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from typer.testing import CliRunner

from schemas.documents import ASYNCAPI_FILE, documents
from schemas.topics import TOPICS
from streams.cli import app
from tests.schemas.examples import JSON, ROOT, TYPES, binary, example, structured

CURRENT = documents(version("heardback"))
ASYNCAPI = json.loads(CURRENT[ASYNCAPI_FILE])


def test_the_committed_documents_are_current() -> None:
    committed = {path.name: path.read_bytes() for path in JSON.iterdir()}
    stale = {name for name in committed | CURRENT if committed.get(name) != CURRENT.get(name)}
    assert stale == set(), "run: heardback schema --out schemas/json"


@pytest.mark.parametrize("name", sorted(set(CURRENT) - {ASYNCAPI_FILE}))
def test_each_record_has_a_json_schema_of_2020_12_that_says_what_it_is(name: str) -> None:
    schema = json.loads(CURRENT[name])
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]
    Draft202012Validator.check_schema(schema)


def test_a_topic_is_a_channel_with_its_address_cleanup_and_key() -> None:
    for topic in TOPICS:
        channel = ASYNCAPI["channels"][topic.name]
        assert channel["address"] == topic.name
        kept = channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]
        assert kept == ["compact" if topic.compacted else "delete"]
        assert channel["messages"], topic.name
        for reference in channel["messages"].values():
            assert target(reference["$ref"])["bindings"]["kafka"]["key"]["description"] == topic.key
    assert len(ASYNCAPI["channels"]) == len(TOPICS)


def test_contact_events_carry_every_type_in_both_modes() -> None:
    messages = ASYNCAPI["channels"]["contact-events"]["messages"]
    assert set(messages) == {f"{kind}{mode}" for kind in TYPES for mode in ("", ".binary")}


def test_every_reference_of_the_asyncapi_document_is_found_in_it() -> None:
    found = list(references(ASYNCAPI))
    assert len(found) > 100
    for reference in found:
        assert target(reference), reference


def test_the_asyncapi_document_has_the_shape_of_version_3() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= ASYNCAPI["info"].keys()
    assert ASYNCAPI.keys() <= {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}
    for operation in ASYNCAPI["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].startswith("#/channels/")
    for group in ASYNCAPI["components"].values():
        assert all(re.fullmatch(r"[\w.-]+", name) for name in group)
    for schema in ASYNCAPI["components"]["schemas"].values():
        assert "discriminator" not in schema  # a name in AsyncAPI, an object in OpenAPI
        Draft7Validator.check_schema(schema)  # what an AsyncAPI schema is a superset of


@pytest.mark.parametrize("kind", TYPES)
def test_the_examples_of_events_follow_the_messages_of_the_asyncapi_document(kind: str) -> None:
    headers, data = binary(kind)
    message = ASYNCAPI["components"]["messages"][kind]
    assert valid(message["payload"], structured(kind))
    message = ASYNCAPI["components"]["messages"][f"{kind}.binary"]
    assert valid(message["payload"], data)
    assert valid(message["headers"], headers)
    del headers["ce_type"]
    assert not valid(message["headers"], headers)


@pytest.mark.parametrize("name", ["customer", "policy", "outcome", "journey", "alert", "delivery"])
def test_so_do_the_examples_of_the_other_records(name: str) -> None:
    message = ASYNCAPI["components"]["messages"][name]
    assert valid(message["payload"], example(name))
    assert not valid(message["payload"], {})


def test_the_example_configurations_follow_the_schema() -> None:
    import yaml

    class Plain(yaml.CSafeLoader):
        """Leaves dates as they are written, as JSON has them."""

    Plain.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    schema = Draft202012Validator(json.loads(CURRENT["configuration.json"]))
    for name in ("heardback.yaml", "servicenow.yaml"):
        content = yaml.load((ROOT / "deploy/examples" / name).read_text(encoding="utf-8"), Loader=Plain)
        schema.validate(content)
        content["policies"][0]["targets"] = {"first_response": "soon"}
        assert not schema.is_valid(content)


def test_the_command_writes_them_all_and_prints_the_asyncapi_document_without_a_folder(tmp_path: Any) -> None:
    printed = CliRunner().invoke(app, ["schema"])
    assert (printed.exit_code, json.loads(printed.stdout)) == (0, ASYNCAPI)
    written = CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "new/folder")])
    assert written.exit_code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "new/folder").iterdir()} == CURRENT


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Any) -> None:
    (tmp_path / "file").touch()
    failed = CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "file")])
    assert failed.exit_code == 1
    assert "file: File exists" in failed.stderr


def valid(schema: Any, content: Any) -> bool:
    return Draft202012Validator({**schema, "components": ASYNCAPI["components"]}).is_valid(content)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    if isinstance(node, list):
        for item in node:
            yield from references(item)


def target(reference: str) -> Any:
    here = ASYNCAPI
    for part in reference.removeprefix("#/").split("/"):
        here = here[part]
    return here
