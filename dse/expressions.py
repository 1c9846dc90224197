"""Arithmetic over the columns of a table, as a person types it: read and checked here, evaluated by pandas."""

import ast
import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dse.config import ConfigError

__all__ = ["Expression", "close_to", "numbers", "parse_expression"]

_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Name, ast.Attribute, ast.Constant, ast.Call),
    *(ast.Load, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_NOT = (ast.Is, ast.IsNot, ast.In, ast.NotIn, ast.MatMult, ast.LShift, ast.RShift, ast.BitXor)
_FUNCTIONS = ("sqrt", "log", "log10", "exp", "abs", "floor", "ceil")
_WORDS = {"true": True, "false": False}  # as TOML writes them


@dataclass(frozen=True, slots=True)
class Expression:
    """What was typed, the columns that it names, and the same for pandas, where a dotted name is one identifier."""

    text: str
    names: tuple[str, ...]
    plain: str

    def of(self, columns: Mapping[str, Any]) -> NDArray[Any]:
        """Its value by row. `columns` holds at least `names`, all of one length (a DataFrame, or arrays by name).

        Where there is no value (0/0, the logarithm of a negative number) stands NaN. Integers are taken as floating-point
        numbers: a product of three large columns is beyond 64 bits.
        """
        series = {_identifier(name): _without_bounds(pd.Series(columns[name])) for name in self.names}
        with np.errstate(all="ignore"):
            found = pd.eval(self.plain, engine="python", resolvers=[series], local_dict={}, global_dict={})
        return np.asarray(found)


def parse_expression(text: str, thing: str) -> Expression:
    """Read an expression. `thing` begins the message of the ConfigError that says what is wrong with it."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        raise ConfigError(f"{thing} must be arithmetic over columns, as in 'latency_ms * multipliers', not {text!r}") from None
    names: list[str] = []
    plain = _Names(names, text, thing).visit(tree)
    return Expression(text.strip(), tuple(dict.fromkeys(names)), ast.unparse(plain))


def close_to(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: what was probably meant, or all that there is."""
    within = [column for column in known if name and column.endswith((f"_{name}", f".{name}"))]
    close = within or difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else f", one of: {', '.join(known)}"


def numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    """A column as numbers; NaN for what is none."""
    return np.asarray(pd.to_numeric(pd.Series(values.ravel()), errors="coerce"), np.float64)


def _without_bounds(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.astype("float64") if column.dtype.kind in "iu" else column


def _identifier(name: str) -> str:
    return "c_" + name.replace(".", "__dot__")


class _Names(ast.NodeTransformer):
    """Collects names, joins dotted ones, and refuses what is no arithmetic."""

    def __init__(self, names: list[str], text: str, thing: str) -> None:
        self.names, self.text, self.thing = names, text, thing

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, _NODES) or isinstance(node, _NOT):
            raise self._refused()
        return super().generic_visit(node)

    def _refused(self) -> ConfigError:
        functions = ", ".join(_FUNCTIONS)
        return ConfigError(f"{self.thing} must be arithmetic over columns with + - * / // % ** {functions}, not {self.text!r}")

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords or len(node.args) != 1:
            functions = ", ".join(_FUNCTIONS)
            raise ConfigError(f"{self.thing} must use no functions but {functions}, each of one value: {self.text!r}")
        return ast.copy_location(ast.Call(node.func, [self.visit(node.args[0])], []), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        parts: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise self._refused()
        return self._named(".".join([inner.id, *reversed(parts)]), node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in _WORDS:
            return ast.copy_location(ast.Constant(_WORDS[node.id]), node)
        return self._named(node.id, node)

    def _named(self, name: str, node: ast.AST) -> ast.AST:
        self.names.append(name)
        return ast.copy_location(ast.Name(_identifier(name), ast.Load()), node)
