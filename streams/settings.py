"""Reading `heardback.yaml` and the environment: every fault at once, with file and line.

The record itself is `schemas.configuration`. Here are only reading, line numbers, overriding by
`HEARDBACK_…` variables; what two sections say together is checked in `streams.consistency`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic import ValidationError

from schemas.configuration import Configuration
from streams import yaml_text
from streams.consistency import NEVER_OPENS, Location, across_sections, never_open
from streams.engine.calendar import SECOND_US
from streams.engine.policy import Escalation, Policies, compile_policies

if TYPE_CHECKING:
    from streams.transport import TransportSettings

ENVIRONMENT_PREFIX: Final = "HEARDBACK_"
SECTIONS: Final = ("CALENDARS", "POLICIES", "ALERTS", "REPORT", "FACTS", "LIMITS", "AUDIT", "BROKER")
CONFIGURATION_BYTES_MAX: Final = 5_000_000
RECEIVERS: Final = ("alerts", "receivers")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One mistake in a configuration. `line` counts from 1; 0 where it came from the environment."""

    file: str
    line: int
    where: str
    what: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.where}: {self.what}" if self.where else f"{place}: {self.what}"


class ConfigurationError(ValueError):
    """The configuration cannot be used; `faults` has every mistake, in the order of the lines."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = sorted(set(faults))  # `mon-fri` is one mistake, not five
        super().__init__("\n".join(map(str, self.faults)))


FaultsOf = Callable[[Configuration], Iterable[tuple[Location, str]]]


def no_further_faults(_: Configuration) -> Iterable[tuple[Location, str]]:
    """Nobody else has anything to say."""
    return ()


def load(
    path: Path, environment: Mapping[str, str] | None = None, faults_of: FaultsOf = no_further_faults
) -> Configuration:
    """The configuration in `path`, overridden by `environment`. `faults_of` says what else is wrong with a
    well-formed one, and where. Raises ConfigurationError."""
    try:
        content = path.read_bytes()
    except OSError as unreadable:
        raise ConfigurationError([Fault(str(path), 0, "", f"cannot be read: {unreadable.strerror}")]) from None
    return parse(content, file=str(path), environment=environment, faults_of=faults_of)


def parse(
    content: bytes,
    *,
    file: str,
    environment: Mapping[str, str] | None = None,
    faults_of: FaultsOf = no_further_faults,
) -> Configuration:
    """The configuration in `content` (YAML, UTF-8 with or without a byte order mark). Raises
    ConfigurationError."""
    if len(content) > CONFIGURATION_BYTES_MAX:
        what = f"found {len(content)} bytes, wanted at most {CONFIGURATION_BYTES_MAX}"
        raise ConfigurationError([Fault(file, 0, "", what)])
    try:
        node = yaml_text.compose(content.decode("utf-8-sig"))
    except UnicodeDecodeError as broken:
        line = content.count(b"\n", 0, broken.start) + 1
        raise ConfigurationError([Fault(file, line, "", f"is not UTF-8 (at byte {broken.start})")]) from None
    except yaml.YAMLError as broken_yaml:
        raise ConfigurationError([_yaml_fault(file, broken_yaml)]) from None
    source = _Source(file, node)
    document = source.document()
    origins = _override(document, environment or {}, source.faults)
    configuration = _validated(document, source, origins)
    source.faults += [source.fault(*found) for found in across_sections(document)]
    sound = configuration or _sound_part(document)
    source.faults += [source.fault(("calendars", name), NEVER_OPENS) for name in never_open(sound)]
    for location, what in faults_of(sound):
        if configuration is not None or tuple(location[:2]) == RECEIVERS:  # a route may name what is not sound
            source.faults.append(source.fault(location, what))
    if source.faults or configuration is None:
        raise ConfigurationError(source.faults)
    return configuration


def policies_of(configuration: Configuration) -> Policies:
    """The compiled policies of a configuration. Escalations at once are the breach itself."""
    steps = [
        Escalation(after_us=step.after.seconds * SECOND_US, wall=step.clock == "wall")
        for step in configuration.alerts.escalations
        if step.after.seconds
    ]
    return compile_policies(configuration.calendars, configuration.policies, steps)


def transport_of(configuration: Configuration) -> TransportSettings:
    """How a worker talks to its broker. The request timeout stays below the session timeout."""
    from streams.transport import TransportSettings  # brokers take half a second that `check` need not wait for

    spec = configuration.broker
    return TransportSettings(
        partitions=spec.partitions,
        replication_factor=spec.replication_factor,
        topic_prefix=spec.topic_prefix,
        retention_days=spec.retention_days,
        session_timeout_seconds=spec.session_timeout_seconds,
        request_timeout_seconds=spec.session_timeout_seconds * 0.8,
        start_timeout_seconds=spec.start_timeout_seconds,
    )


class _Source:
    """A YAML document that knows the line of each of its parts."""

    def __init__(self, file: str, node: yaml.Node | None) -> None:
        self.file = file
        self.node = node
        self.faults: list[Fault] = []

    def document(self) -> dict[str, Any]:
        if self.node is None:
            return {}
        if not isinstance(self.node, yaml.MappingNode):
            self.faults.append(Fault(self.file, 1, "", "found no mapping, wanted calendars:, policies:, alerts: …"))
            return {}
        self._refuse_doubled_keys(self.node, [], set())
        try:
            constructed = yaml_text.Loader("").construct_document(self.node)
        except (yaml.YAMLError, ValueError) as broken:
            self.faults.append(_yaml_fault(self.file, broken))
            return {}
        # a section whose lines are all commented out is one that is not there
        return {key: value for key, value in constructed.items() if value is not None}

    def fault(self, location: Location, what: str) -> Fault:
        return Fault(self.file, self._line(location), ".".join(map(str, location)), what)

    def _line(self, location: Location) -> int:
        node, line = self.node, 1
        for part in location:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return line

    def _refuse_doubled_keys(self, node: yaml.Node, location: list[str | int], seen: set[int]) -> None:
        if id(node) in seen:  # an alias: said where it stands first
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._refuse_doubled_keys(item, [*location, index], seen)
        if not isinstance(node, yaml.MappingNode):
            return
        keys: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in keys:
                what = f"found {name!r} twice, wanted each key once"
                self.faults.append(Fault(self.file, key.start_mark.line + 1, _dotted([*location, name]), what))
            keys.add(name)
            self._refuse_doubled_keys(value, [*location, name], seen)


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if str(key.value) == str(part):
                return value, key.start_mark.line + 1
    return None


def _yaml_fault(file: str, broken: Exception) -> Fault:
    mark = getattr(broken, "problem_mark", None)
    what = getattr(broken, "problem", None) or str(broken).splitlines()[0]
    return Fault(file, mark.line + 1 if mark else 0, "", f"is not valid YAML: {what}")


def _validated(document: dict[str, Any], source: _Source, origins: Mapping[str, str]) -> Configuration | None:
    try:
        return Configuration.model_validate(document)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            if error["type"] == "unknown_receiver":  # said below, with its line
                continue
            location = _without_union_tags(error["loc"], document)
            what = error["msg"].removeprefix("Value error, ")
            if error["type"] == "extra_forbidden":
                what = "found an unknown key; look for a spelling mistake"
            if location and location[-1] == "[key]":
                location = location[:-1]
            variable = next((name for path, name in origins.items() if _is_in(path, _dotted(location))), None)
            fault = source.fault(location, what)
            source.faults.append(Fault(variable, 0, fault.where, what) if variable else fault)
        return None


def _sound_part(document: Mapping[str, Any]) -> Configuration:
    """The calendars and the receivers of a faulty document, where they are well-formed by themselves: what is wrong
    with them beyond that is said together with all other faults."""
    sound = Configuration()
    calendars, alerts = document.get("calendars"), document.get("alerts")
    for name, spec in calendars.items() if isinstance(calendars, dict) else ():
        with suppress(ValidationError):
            sound.calendars.update(Configuration.model_validate({"calendars": {name: spec}}).calendars)
    with suppress(ValidationError):
        receivers = alerts.get("receivers", []) if isinstance(alerts, dict) else []
        sound.alerts.receivers.extend(
            Configuration.model_validate({"alerts": {"receivers": receivers}}).alerts.receivers
        )
    return sound


def _is_in(path: str, where: str) -> bool:
    return where == path or where.startswith(f"{path}.")


def _dotted(location: Location) -> str:
    return ".".join(map(str, location))


def _without_union_tags(location: Location, document: Any) -> list[str | int]:
    """Pydantic names the alternative of a union in the path; the document has no such key."""
    kept: list[str | int] = []
    here = document
    for position, part in enumerate(location):
        last = position == len(location) - 1
        in_mapping = isinstance(here, Mapping) and part in here
        if in_mapping or (isinstance(here, list) and isinstance(part, int) and part < len(here)):
            here = here[part]
        elif not (last and isinstance(here, Mapping)) or "[" in str(part) or "(" in str(part):
            continue
        kept.append(part)
    return kept


def _override(document: dict[str, Any], environment: Mapping[str, str], faults: list[Fault]) -> dict[str, str]:
    """Put `HEARDBACK_LIMITS__LATE_AFTER=10d` at `limits.late_after`; returns which path came from where. An
    empty variable is one that is not set."""
    origins = {}
    for name in sorted(environment):
        path = name.removeprefix(ENVIRONMENT_PREFIX).split("__")
        if not name.startswith(ENVIRONMENT_PREFIX) or len(path) == 1 or not environment[name]:
            continue
        if path[0] not in SECTIONS:
            known = ", ".join(f"{ENVIRONMENT_PREFIX}{section}__…" for section in SECTIONS)
            faults.append(Fault(name, 0, "", f"found no section {path[0].lower()!r}, wanted one of {known}"))
            continue
        keys = [part.lower() for part in path]
        try:
            _put(document, keys, yaml_text.load(environment[name]))
        except yaml.YAMLError as broken:
            faults.append(Fault(name, 0, "", _yaml_fault("", broken).what))
        except (ValueError, LookupError, TypeError):
            faults.append(
                Fault(name, 0, _dotted(keys), "found no place for it, wanted a setting that the file may have")
            )
        origins[_dotted(keys)] = name
    return origins


def _put(document: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Raises LookupError, TypeError and ValueError where the document has no such place."""
    here: Any = document
    for key in keys[:-1]:
        here = here[int(key)] if isinstance(here, list) else here.setdefault(key, {})
    if isinstance(here, list):
        here[int(keys[-1])] = value
    elif isinstance(here, dict):
        here[keys[-1]] = value
    else:
        raise TypeError(keys)
