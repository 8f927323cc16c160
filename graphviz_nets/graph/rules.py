"""Rule tables: per-operation knowledge as functions in a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from graphviz_nets import plugins

Rule = TypeVar("Rule", bound=Callable[..., object])


class Table(Generic[Rule]):
    """Functions by operation name; the table is its own decorator.

    Parameters
    ----------
    name : str
        What the rules are for; used in errors.
    foreign : str
        Attribute of a foreign domain's rule module that holds the same kind of table; empty where there is none.

    Examples
    --------
    >>> price = Table("price")
    >>> @price("Add", "Sub")
    ... def cheap(node):
    ...     return 1
    >>> price.find("", "Sub")(None), price.find("", "Conv") is None
    (1, True)
    """

    def __init__(self, name: str, foreign: str = "") -> None:
        self.name = name
        self.foreign = foreign
        self.rules: dict[str, Rule] = {}

    def __call__(self, *op_types: str) -> Callable[[Rule], Rule]:
        def register(rule: Rule) -> Rule:
            for op_type in op_types:
                if op_type in self.rules:
                    raise ValueError(f"{self.name} rule for {op_type} is registered twice")
                self.rules[op_type] = rule
            return rule

        return register

    def find(self, domain: str, op_type: str) -> Rule | None:
        """Return the rule of an operation; those of a foreign domain come from its converter's rule module."""
        if domain in ("", "ai.onnx"):
            return self.rules.get(op_type)
        module = plugins.resolve("rules", domain) if self.foreign else None
        table: Table[Rule] | None = getattr(module, self.foreign, None)
        return None if table is None else table.rules.get(op_type)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rules)
