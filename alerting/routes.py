"""Where a route leads, why one matches an alert or does not, and which no alert can ever take. Pure.

Used for telling (`notify.Routes`) and for `heardback check`, so that both say the same. What a route may ask of
an alert is `schemas.configuration.RouteMatch`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, get_args

from schemas.alerts import Kind, Severity
from schemas.configuration import AlertsSpec, RouteMatch
from schemas.policies import PolicySpec

KEYS: Final = ("tier", "channel", "queue", "owner", "policy", "kind", "severity")
"""What a route may ask of an alert, and an example may say."""

SEVERITIES: Final[Mapping[str, Sequence[Severity]]] = {
    "at_risk": ("warning",),
    "reply_bounced": ("page",),
    "dead_end": ("page",),
    "chasing": ("page",),
    "silent_close": ("page", "warning"),
    "silent_source": ("warning",),
    "blind": ("page",),
}
"""Of the kinds whose severity is not configured."""

OF_CLOCKS: Final = frozenset({"at_risk", "breach", "escalation", "reply_bounced", "silent_close"})
OF_NOBODY: Final = frozenset({"silent_source", "blind"})
"""Alerts about no customer: without tier, queue, policy and owner; `blind` also without channel."""

_OPEN: Final = ("tier", "channel", "queue", "owner", "policy")
_OTHER: Final = "\0other"
_STEPS_MOST: Final = 20_000
_Box = dict[str, frozenset[str]]


def mismatch(match: RouteMatch, alert: Mapping[str, Any], owner: str | None) -> str | None:
    """The first key that an alert does not meet, in words, or None: it takes this route. `owner` is that of the
    alert's customer."""
    labels = alert["labels"]
    found = {"owner": owner, "kind": alert["kind"], "policy": alert["policy"], "severity": alert["severity"]}
    for key in KEYS:
        allowed = getattr(match, key)
        value = found[key] if key in found else labels.get(key)
        if allowed is not None and value not in allowed:
            return f"{key} is {value or 'unknown'}, wanted {' or '.join(allowed)}"
    return None


class Look(NamedTuple):
    """One route for one alert: None against it, and it is taken. `number` counts from 1."""

    number: int
    against: str | None
    receivers: Sequence[str]


def looks(spec: AlertsSpec, alert: Mapping[str, Any], owner: str | None) -> list[Look]:
    """Each route up to the one that is taken."""
    found = []
    for number, route in enumerate(spec.routes, start=1):
        found.append(Look(number, mismatch(route.match, alert, owner), route.receivers))
        if found[-1].against is None:
            break
    return found


def example(said: Mapping[str, str], spec: AlertsSpec) -> dict[str, Any]:
    """The alert, as far as routes look at it, of which only these keys are `said`: a breach where no kind is, and
    the first severity that this kind can have. Raises ValueError for a key or a word that there is not."""
    if unknown := sorted(said.keys() - set(KEYS)):
        raise ValueError(f"found {', '.join(unknown)}, wanted some of {', '.join(KEYS)}")
    words: dict[str, Sequence[str]] = {"kind": get_args(Kind), "severity": get_args(Severity)}
    for key, known in words.items():
        if said.get(key, known[0]) not in known:
            raise ValueError(f"found {key} {said[key]!r}, wanted one of {', '.join(known)}")
    RouteMatch.model_validate({"channel": said.get("channel")})
    kind = said.get("kind", "breach")
    severity = said.get("severity", severities(kind, spec)[0])
    labels = {key: said[key] for key in ("tier", "channel", "queue") if key in said}
    return {"kind": kind, "severity": severity, "policy": said.get("policy"), "labels": labels}


def severities(kind: str, spec: AlertsSpec) -> Sequence[str]:
    """Those that alerts of a kind can have under this configuration."""
    if kind in SEVERITIES:
        return SEVERITIES[kind]
    later = [step.severity for step in spec.escalations if step.after.seconds]
    if kind == "escalation":
        return list(dict.fromkeys(later)) or ["page"]
    return [next((step.severity for step in spec.escalations if not step.after.seconds), "page")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What there can be: the policies, and where every customer is known (`check --customers`) their tiers and
    owners."""

    policies: Sequence[PolicySpec]
    tiers: Collection[str] | None = None
    owners: Collection[str] | None = None


def faults(spec: AlertsSpec, known: Known) -> Iterator[tuple[int, str]]:
    """Routes, by their index, that can reach nobody, and why."""
    boxes = [_box(route.match) for route in spec.routes]
    empty_ones = set()
    for index, route in enumerate(spec.routes):
        kinds = [kind for kind in get_args(Kind) if _could(route.match, kind, spec)]
        if not kinds:
            empty_ones.add(index)
            yield index, f"found {_words(route.match)}, wanted a severity that alerts of this kind can have"
            continue
        domains = {kind: _domain(kind, boxes, known) for kind in kinds}
        inside = {kind: _within(boxes[index], domain) for kind, domain in domains.items()}
        possible = {kind: box for kind, box in inside.items() if all(box.values())}
        if not possible:
            empty = next(key for key in _OPEN if not all(box[key] for box in inside.values()))
            empty_ones.add(index)
            wanted = sorted(set().union(*(domain[empty] for domain in domains.values())) - {_OTHER})
            yield index, f"found {_words(route.match)}, but no alert has such a {empty}; there are {wanted}"
            continue
        if not any(_gets_through(spec, index, kind, box, boxes) for kind, box in possible.items()):
            before = [
                str(other + 1)
                for other in range(index)
                if other not in empty_ones and _overlaps(boxes[other], boxes[index])
            ]
            yield index, f"found {_words(route.match)}, wholly hidden behind route {' and '.join(before)}"


def unheard(spec: AlertsSpec, known: Known) -> list[str]:
    """Kinds of alerts that no receiver gets at all."""
    if not spec.routes:
        return [] if spec.receivers else list(get_args(Kind))
    boxes = [_box(route.match) for route in spec.routes]
    heard = {
        kind
        for index, route in enumerate(spec.routes)
        for kind in get_args(Kind)
        if _could(route.match, kind, spec) and all(_within(boxes[index], _domain(kind, boxes, known)).values())
    }
    if any(step.receivers for step in spec.escalations):
        heard |= {"escalation"}
    return [kind for kind in get_args(Kind) if kind not in heard]


def _could(match: RouteMatch, kind: str, spec: AlertsSpec) -> bool:
    if match.kind is not None and kind not in match.kind:
        return False
    return match.severity is None or any(severity in match.severity for severity in severities(kind, spec))


def _box(match: RouteMatch) -> _Box:
    """What a route asks of the open-ended keys; a key that is not asked for is absent."""
    asked = {key: getattr(match, key) for key in _OPEN}
    return {key: frozenset(values) for key, values in asked.items() if values is not None}


def _domain(kind: str, boxes: Sequence[_Box], known: Known) -> _Box:
    """What alerts of a kind can have, key by key: the values that somebody names, and all others as one."""
    named = {key: frozenset().union(*(box.get(key, frozenset()) for box in boxes)) for key in _OPEN}
    domain = {key: values | {_OTHER} for key, values in named.items()}
    names = frozenset(policy.name for policy in known.policies)
    domain["policy"] = names if kind in OF_CLOCKS else names | {_OTHER}
    if kind in OF_CLOCKS and known.policies and all(policy.match.tier for policy in known.policies):
        domain["tier"] = frozenset(tier for policy in known.policies for tier in policy.match.tier or ())
    if known.tiers is not None:
        domain["tier"] &= frozenset(known.tiers) | {_OTHER}
    if known.owners is not None:
        domain["owner"] &= frozenset(known.owners) | {_OTHER}
    if kind in OF_NOBODY:
        without = _OPEN if kind == "blind" else ("tier", "queue", "owner", "policy")
        domain |= {key: frozenset({_OTHER}) for key in without}
    return domain


def _within(box: _Box, domain: _Box) -> _Box:
    """What of a domain a route takes."""
    return {key: values & box.get(key, values) for key, values in domain.items()}


def _gets_through(spec: AlertsSpec, index: int, kind: str, box: _Box, boxes: Sequence[_Box]) -> bool:
    """Whether an alert of this kind in `box` passes all routes before: for some severity, each of those can be
    escaped by a value that it does not ask for."""
    match = spec.routes[index].match
    for severity in severities(kind, spec):
        if match.severity is not None and severity not in match.severity:
            continue
        earlier = [
            boxes[other]
            for other, route in enumerate(spec.routes[:index])
            if (route.match.kind is None or kind in route.match.kind)
            and (route.match.severity is None or severity in route.match.severity)
        ]
        if _escapes(box, earlier, [_STEPS_MOST]):
            return True
    return False


def _escapes(box: _Box, earlier: Sequence[_Box], steps: list[int]) -> bool:
    """Whether a point of `box` lies in none of `earlier`. Too intricate a question is answered with yes."""
    steps[0] -= 1
    if not earlier or steps[0] < 0:
        return True
    first, *rest = earlier
    if any(not box[key] & values for key, values in first.items()):
        return _escapes(box, rest, steps)
    return any(
        _escapes({**box, key: outside}, rest, steps) for key, values in first.items() if (outside := box[key] - values)
    )


def _overlaps(one: _Box, other: _Box) -> bool:
    return all(values & other[key] for key, values in one.items() if key in other)


def _words(match: RouteMatch) -> str:
    asked = {key: getattr(match, key) for key in KEYS}
    return ", ".join(f"{key} {' or '.join(values)}" for key, values in asked.items() if values) or "a route for all"
