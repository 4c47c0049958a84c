"""What others build against: the JSON Schema of every record, and one AsyncAPI document of all topics.

Made from the models, never written by hand; `heardback schema` writes them, and those committed in
`schemas/json/` are tested to be current. A schema says what is read: fields that a reader may miss are not
required, unknown fields are allowed. What a record means is said in its own module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, TypeAdapter

from schemas import dead_letters, topics
from schemas.acknowledgements import Acknowledgement
from schemas.alerts import Alert
from schemas.configuration import Configuration
from schemas.customers import Customer
from schemas.deliveries import Delivery
from schemas.events import EVENT, EVENT_DATA, WAKE_UP, Event
from schemas.health import Health
from schemas.outcomes import Journey, Outcome
from schemas.policies import PolicyRecord
from schemas.refusals import Reason

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_FILE: Final = "asyncapi.json"
STRUCTURED: Final = "application/cloudevents+json"
PLAIN: Final = "application/json"
_KAFKA_CHANNEL: Final = "0.5.0"
_KAFKA_MESSAGE: Final = "0.5.0"
_DAY_MS: Final = 86_400_000

Schema = dict[str, Any]

# Records with one shape, by the name of their document.
RECORDS: Final[Mapping[str, type[BaseModel]]] = {
    "alert": Alert,
    "configuration": Configuration,
    "customer": Customer,
    "delivery": Delivery,
    "acknowledgement": Acknowledgement,
    "health": Health,
    "journey": Journey,
    "outcome": Outcome,
    "policy": PolicyRecord,
}
# Which record a topic carries; contact events and dead letters have shapes of their own.
_TOPIC_RECORDS: Final[Mapping[str, str]] = {
    topics.CUSTOMERS.name: "customer",
    topics.POLICIES.name: "policy",
    topics.OUTCOMES.name: "outcome",
    topics.JOURNEYS.name: "journey",
    topics.ALERTS.name: "alert",
    topics.DELIVERIES.name: "delivery",
    topics.ACKNOWLEDGEMENTS.name: "acknowledgement",
    topics.HEALTH.name: "health",
}
_EVENTS: Final = {str(model.model_fields["type"].default): model for model in get_args(Event)}
# What heardback itself reads; everything is written by it too, but events and customers also by others.
_READ: Final = frozenset({topics.CONTACT_EVENTS.name, topics.CUSTOMERS.name})


def documents(version: str) -> dict[str, bytes]:
    """Every document by file name, as bytes that are the same for the same models. `version` is the
    AsyncAPI document's own."""
    found = {name: model.model_json_schema() for name, model in RECORDS.items()}
    found["contact-event"] = contact_event()
    found["dead-letter-headers"] = dead_letter_headers()
    whole = {f"{name}.json": _written({"$schema": DIALECT, **found[name]}) for name in sorted(found)}
    return {ASYNCAPI_FILE: _written(asyncapi(version)), **whole}


def _written(document: Schema) -> bytes:
    return json.dumps(_plain(document), indent=2, ensure_ascii=False).encode() + b"\n"


def _plain(node: Any) -> Any:
    """Without OpenAPI's `discriminator` and the titles that only repeat a field's name."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _plain(value) for key, value in node.items() if key != "discriminator"}
    for name, field in kept.get("properties", {}).items():
        kept["properties"][name] = {key: value for key, value in field.items() if key != "title"}
    return kept


def contact_event() -> Schema:
    """A contact event in structured mode, every type (CONTRACT.md section 2)."""
    schema = EVENT.json_schema()
    for name, definition in schema["$defs"].items():
        _require_envelope(name, definition)
    return {"title": "ContactEvent", **schema}


def _require_envelope(name: str, definition: Schema) -> None:
    """`specversion` and `type` have values of their own in our code; senders have to write them."""
    if name in {model.__name__ for model in _EVENTS.values()}:
        definition["required"] = sorted({*definition["required"], "specversion", "type"})


def dead_letter_headers() -> Schema:
    """The headers of a record of topic `dead-letters`; its value is the refused record's own."""
    text = {"type": "string"}
    return {
        "title": "DeadLetterHeaders",
        "type": "object",
        "properties": {
            dead_letters.REASON: {"type": "string", "enum": sorted(Reason)},
            dead_letters.DETAIL: text | {"description": "what was found and what was wanted"},
            dead_letters.FIELD: text | {"description": "dotted path of the first fault, or empty"},
            dead_letters.ORIGIN: text | {"description": "topic/partition/offset, or a route, or file:line"},
            dead_letters.REFUSED_AT: text | {"format": "date-time"},
            dead_letters.KEY: text | {"description": "the refused record's key, if it had one"},
        },
        "patternProperties": {f"^{dead_letters.ORIGINAL.replace('.', '[.]')}": text},
        "required": [dead_letters.REASON],
    }


def _replayed_headers() -> Schema:
    names = [name for name, _ in dead_letters.replayed_headers(0, "", "")]
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}


def asyncapi(version: str) -> Schema:
    """The AsyncAPI 3.0 document: topics as channels with their keys, records as messages. It stands alone:
    every schema is among its components."""
    messages = {topic.name: dict(_messages(topic)) for topic in topics.TOPICS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "heardback",
            "version": version,
            "description": "Did every customer hear back? Facts about contacts go in; what clocks came to, who "
            "still waits and what a human must know come out. Topic names may carry a prefix from the settings.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": PLAIN,
        "channels": {topic.name: _channel(topic, messages[topic.name]) for topic in topics.TOPICS},
        "operations": dict(operation for topic in topics.TOPICS for operation in _operations(topic)),
        "components": {
            "messages": {name: message for some in messages.values() for name, message in some.items()},
            "schemas": _component_schemas(),
        },
    }


def _channel(topic: topics.Topic, messages: Mapping[str, Schema]) -> Schema:
    configuration: Schema = {"cleanup.policy": ["compact" if topic.compacted else "delete"]}
    if topic.retention_days:
        configuration["retention.ms"] = topic.retention_days * _DAY_MS
    shared = "the common number of partitions" if topic.partitioned else "one partition"
    return {
        "address": topic.name,
        "description": f"{topic.about}; key: {topic.key}; {shared}",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": configuration,
                "bindingVersion": _KAFKA_CHANNEL,
            }
        },
    }


def _operations(topic: topics.Topic) -> Iterator[tuple[str, Schema]]:
    channel = {"$ref": f"#/channels/{topic.name}"}
    if topic.name in _READ:
        yield f"receive.{topic.name}", {"action": "receive", "channel": channel, "summary": f"reads {topic.about}"}
    if topic is not topics.CUSTOMERS:
        yield f"send.{topic.name}", {"action": "send", "channel": channel, "summary": f"writes {topic.about}"}


def _messages(topic: topics.Topic) -> Iterator[tuple[str, Schema]]:
    if topic is topics.CONTACT_EVENTS:
        yield from _event_messages(topic)
    elif topic is topics.DEAD_LETTERS:
        message = _message(topic, "dead letter", payload={"description": "the refused record's value, unchanged"})
        yield "dead-letter", message | {"headers": _schema_ref("DeadLetterHeaders")}
        replayed = _message(topic, "a dead letter was put back", payload={"type": "null"})
        yield "dead-letter.replayed", replayed | {"headers": _replayed_headers()}
    elif (name := _TOPIC_RECORDS.get(topic.name)) is not None:
        yield name, _message(topic, name, payload=_schema_ref(RECORDS[name].__name__))


def _event_messages(topic: topics.Topic) -> Iterator[tuple[str, Schema]]:
    for kind, model in _EVENTS.items():
        about = f"{kind} (internal: nobody outside may send it)" if kind == WAKE_UP else kind
        structured = _message(topic, f"{about}, structured mode", payload=_schema_ref(model.__name__))
        yield kind, structured | {"contentType": STRUCTURED}
        binary = _message(topic, f"{about}, binary mode", payload=_schema_ref(EVENT_DATA[kind].__name__))
        yield f"{kind}.binary", binary | {"headers": _binary_headers(kind)}


def _binary_headers(kind: str) -> Schema:
    """CloudEvents' Kafka binding 1.0, section 3: attributes are headers with the prefix `ce_`."""
    envelope = _EVENTS[kind].model_json_schema()["properties"]
    attributes = {f"ce_{name}": shape for name, shape in envelope.items() if name != "data"}
    return {"type": "object", "properties": attributes, "required": sorted(attributes)}


def _message(topic: topics.Topic, title: str, *, payload: Schema) -> Schema:
    key = {"type": "string", "description": topic.key}
    return {
        "title": title,
        "contentType": PLAIN,
        "payload": payload,
        "bindings": {"kafka": {"key": key, "bindingVersion": _KAFKA_MESSAGE}},
    }


def _schema_ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _component_schemas() -> Schema:
    adapters: list[tuple[str, Any, TypeAdapter[Any]]] = [("contact-event", "validation", EVENT)]
    adapters += [(name, "validation", TypeAdapter(RECORDS[name])) for name in _TOPIC_RECORDS.values()]
    _, shared = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    found: Schema = shared["$defs"]
    for name, definition in found.items():
        _require_envelope(name, definition)
    return dict(sorted({**found, "DeadLetterHeaders": dead_letter_headers()}.items()))
