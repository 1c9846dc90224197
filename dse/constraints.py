"""Limits that a design must keep: inequalities over settings and result columns."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.config import ConfigError
from dse.expressions import Expression, numbers, parse_expression

__all__ = ["BREAKS", "Constraint", "account", "breaks", "parse_constraint", "read_constraints"]

BREAKS = "breaks"
"""Column of a sweep's table: the constraints that a point breaks, "; " between them, "" for none."""

_RELATIONS: dict[type[ast.cmpop], str] = {ast.LtE: "<=", ast.Lt: "<", ast.GtE: ">=", ast.Gt: ">", ast.Eq: "==", ast.NotEq: "!="}
_TINY = 1e-9  # how far a strict limit is missed that is met exactly


@dataclass(frozen=True, slots=True)
class Constraint:
    """One comparison of two expressions."""

    text: str
    left: Expression
    relation: str
    right: Expression

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.left.names, *self.right.names)))

    def kept(self, columns: Mapping[str, Any]) -> NDArray[np.bool_]:
        """By row, whether the limit is kept. A row without a number keeps nothing."""
        left, right = self._sides(columns)
        if left.dtype.kind in "OUT" or right.dtype.kind in "OUT":
            same = np.asarray(left == right, bool)
            return {"==": same, "!=": ~same}.get(self.relation, np.zeros(len(same), bool))  # texts have no order
        with np.errstate(invalid="ignore"):
            found = {
                "<=": np.less_equal,
                "<": np.less,
                ">=": np.greater_equal,
                ">": np.greater,
                "==": np.equal,
                "!=": np.not_equal,
            }[self.relation](left, right)
        return np.asarray(found, bool) & ~np.isnan(left) & ~np.isnan(right)

    def violation(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        """By row, how far the limit is broken, as a share of it: 0 where it is kept, 1 where there is no number."""
        kept = self.kept(columns)
        left, right = self._sides(columns)
        if left.dtype.kind in "OUT" or right.dtype.kind in "OUT" or self.relation == "!=":
            return np.where(kept, 0.0, 1.0)
        with np.errstate(all="ignore"):
            over = np.abs(left - right) / np.where(right == 0, 1.0, np.abs(right))
        over = np.where(np.isfinite(over), np.maximum(over, _TINY), 1.0)
        return np.where(kept, 0.0, over)

    def _sides(self, columns: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        rows = len(pd.Series(columns[self.names[0]]))
        left, right = (np.broadcast_to(side.of(columns), rows) for side in (self.left, self.right))
        if any(side.dtype.kind in "OUT" and isinstance(_first_text(side), str) for side in (left, right)):
            return left.astype(object), right.astype(object)
        return numbers(left), numbers(right)


def _first_text(values: NDArray[Any]) -> Any:
    return next((value for value in values if isinstance(value, str)), None)


def parse_constraint(text: str, thing: str = "Constraint") -> Constraint:
    """A constraint as it is typed, such as "ecp5_lut <= 80000". Raises ConfigError."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        tree = None
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or type(tree.ops[0]) not in _RELATIONS:
        raise _refused(text, thing)
    whole = parse_expression(text, f"{thing} {text!r}")
    if not whole.names:
        raise _refused(text, thing)
    if not isinstance(tree.ops[0], ast.Eq | ast.NotEq) and any(
        isinstance(node, ast.Constant) and isinstance(node.value, str) for node in ast.walk(tree)
    ):
        raise ConfigError(f"{thing} {text!r} must compare numbers: a text is only equal (==) or not (!=)")
    sides = [parse_expression(ast.unparse(side), f"{thing} {text!r}") for side in (tree.left, tree.comparators[0])]
    return Constraint(whole.text, sides[0], _RELATIONS[type(tree.ops[0])], sides[1])


def _refused(text: str, thing: str) -> ConfigError:
    rule = "one comparison of columns by <= < >= > == or !=, as in 'ecp5_lut <= 80000'"
    return ConfigError(f"{thing} {text!r} must be {rule}")


def read_constraints(table: Mapping[str, Any], source: str) -> tuple[Constraint, ...]:
    """The section [constraints] of a space: ``must = ["ecp5_lut <= 80000", ...]``. Raises ConfigError."""
    if unknown := sorted(set(table) - {"must"}):
        raise ConfigError(f"Space {source!r} section 'constraints' has no field {unknown[0]!r}; it must be must = [...]")
    texts = table.get("must", [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"Space {source!r} field 'constraints.must' must be a list of inequalities, not {texts!r}")
    return tuple(parse_constraint(text, f"Space {source!r}: constraint") for text in dict.fromkeys(texts))


def breaks(frame: pd.DataFrame, constraints: tuple[Constraint, ...]) -> "pd.Series[str]":
    """Column `BREAKS` of a table of points that ran. A column that no point has counts as broken: it has no number."""
    texts = np.full(len(frame), "", dtype=object)
    for constraint in constraints if len(frame) else ():
        missing = {name: np.full(len(frame), np.nan) for name in constraint.names if name not in frame.columns}
        columns = {name: frame[name].to_numpy() for name in constraint.names if name in frame.columns} | missing
        broken = ~constraint.kept(columns)
        texts[broken] = np.where(texts[broken] == "", "", texts[broken] + "; ") + constraint.text
    return pd.Series(texts, index=frame.index, dtype="object")


def account(frame: pd.DataFrame, constraints: tuple[Constraint, ...]) -> list[str]:
    """Lines that say how many of the points that ran break which constraint; none where nothing is broken."""
    if BREAKS not in frame.columns or not constraints:
        return []
    ran = frame.loc[frame["status"] == "ok", BREAKS]
    counts = {frozenset(str(text).split("; ")): int(count) for text, count in ran.value_counts().items()}
    lines = [
        f"{count:,} of {len(ran):,} break {constraint.text!r}"
        for constraint in constraints
        if (count := sum(count for texts, count in counts.items() if constraint.text in texts))
    ]
    if len(ran) and not (ran == "").any():
        lines.append("no point keeps all constraints, so there is no front; loosen the one that most points break")
    return lines
