"""What PromQL asks for, read by a parser of its own: the selectors of an expression. Running it is Prometheus'."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser


def selectors(expression: str) -> list[str]:
    """The vector selectors of an expression, without ranges. Raises ValueError where it is no PromQL."""
    return [str(selector) for selector in _selectors(expression)]


def names(expression: str) -> set[str]:
    """The metrics that an expression reads. Raises ValueError where it is no PromQL."""
    return {selector.name or "" for selector in _selectors(expression)}


def _selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return iter(found)
