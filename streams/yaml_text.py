"""YAML that somebody else wrote, read within bounds: how deep it nests, and what its aliases come to.

libyaml ends the process on deep nesting, and aliases of aliases make a page of text as large as one likes. Both are
found in the stream of events, before anything is built. What the text means does not belong here.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

DEPTH_MAX: Final = 100
ALIASED_MAX: Final = 100_000
"""Values that all aliases of a text may stand for together."""
CHARACTERS_OF_A_VALUE: Final = 64
"""A longer text counts as several values."""


class Unbounded(yaml.MarkedYAMLError):
    """The text is YAML, but nests too deep or comes to too much."""


class Loader(yaml.CSafeLoader):
    """What looks like a date and is none, such as 2026-13-01, stays text: whoever wanted a date says what it found."""

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> Any:
        """A date, an instant, or the text."""
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError:
            return node.value


Loader.add_constructor("tag:yaml.org,2002:timestamp", Loader.construct_yaml_timestamp)


def compose(text: str) -> yaml.Node | None:
    """The nodes of the one document in `text`. Raises yaml.YAMLError."""
    _check(text)
    return yaml.compose(text, Loader=Loader)


def load(text: str) -> Any:
    """What the one document in `text` says. Raises yaml.YAMLError and ValueError."""
    _check(text)
    return yaml.load(text, Loader=Loader)  # noqa: S506 - a safe loader


def _check(text: str) -> None:
    sizes: dict[str | None, int] = {}
    around: list[tuple[str | None, int]] = []  # anchor of each collection around, and the size at its start
    size = aliased = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        match event:
            case yaml.ScalarEvent():
                weight = 1 + len(event.value) // CHARACTERS_OF_A_VALUE
                size += weight
                if event.anchor is not None:
                    sizes[event.anchor] = weight
            case yaml.CollectionStartEvent():
                around.append((event.anchor, size))
                if len(around) > DEPTH_MAX:
                    raise _unbounded(event, f"found nesting deeper than {DEPTH_MAX}")
            case yaml.CollectionEndEvent():
                size += 1
                anchor, start = around.pop()
                sizes[anchor] = size - start
            case yaml.AliasEvent():
                if any(anchor == event.anchor for anchor, _ in around):
                    raise _unbounded(event, f"found alias {event.anchor!r} inside of what it names")
                size += sizes.get(event.anchor, 1)
                aliased += sizes.get(event.anchor, 1)
                if aliased > ALIASED_MAX:
                    raise _unbounded(event, f"found aliases that stand for more than {ALIASED_MAX} values")


def _unbounded(event: yaml.Event, problem: str) -> Unbounded:
    mark: Any = event.start_mark
    return Unbounded(problem=problem, problem_mark=mark)
