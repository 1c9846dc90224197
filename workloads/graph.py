"""The workload: one training step as a DAG of operations, ordered by the data they exchange."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import networkx as nx

from workloads.gemm import Gemm, Stage
from workloads.ops import Op, Prune, Update, Vector

__all__ = ["Notice", "Workload", "read_names", "write_names"]


def read_names(op: Op) -> tuple[str, ...]:
    """Tensors that an operation reads."""
    match op:
        case Gemm():
            return (op.a.tensor, op.b.tensor)
        case Vector():
            return tuple(tensor.name for tensor in op.reads)
        case Prune():
            return (op.source.name,)
        case Update():
            return (op.gradient,)


def write_names(op: Op) -> tuple[str, ...]:
    """Tensors that an operation writes. An update writes the parameter for the next step, which none in this step reads."""
    match op:
        case Gemm():
            return (op.c,)
        case Vector():
            return tuple(tensor.name for tensor in op.writes)
        case Prune():
            return (op.target,)
        case Update():
            return ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a method could not do, and why: reported, never silent."""

    layer: str
    stage: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One training step: operations in program order, each reading tensors that earlier ones wrote.

    `saved_elements` are the activations kept between forward and backward. Raises ValueError where two operations have
    one name, or one reads a tensor that a later one writes.
    """

    name: str
    batch: int
    ops: tuple[Op, ...]
    saved_elements: int = 0
    method: str = "dense"
    notices: tuple[Notice, ...] = ()

    def __post_init__(self) -> None:
        names: set[str] = set()
        unread: dict[str, str] = {}
        for op in self.ops:
            if op.name in names:
                raise ValueError(f"Workload {self.name!r}: operation {op.name!r} must appear once")
            names.add(op.name)
        position = {name: i for i, op in enumerate(self.ops) for name in write_names(op)}
        for i, op in enumerate(self.ops):
            for name in read_names(op):
                if position.get(name, -1) >= i:
                    unread[name] = op.name
        if unread:
            tensor, op_name = next(iter(unread.items()))
            raise ValueError(f"Workload {self.name!r}: {op_name!r} must not read {tensor!r} before it is written")

    @cached_property
    def graph(self) -> "nx.DiGraph[str]":
        """Operations by name; an edge carries data. All writers of a tensor (the phases of a gradient) precede its readers."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        writers: dict[str, list[str]] = {}
        for op in self.ops:
            graph.add_node(op.name, op=op)
            for name in read_names(op):
                graph.add_edges_from((writer, op.name) for writer in writers.get(name, ()))
            for name in write_names(op):
                writers.setdefault(name, []).append(op.name)
        return graph

    @property
    def gemms(self) -> Iterator[Gemm]:
        return (op for op in self.ops if isinstance(op, Gemm))

    def dense_macs(self, *stages: Stage) -> int:
        """Multiplications of the given stages (all without argument), zeros counted."""
        return sum(gemm.dense_macs for gemm in self.gemms if not stages or gemm.stage in stages)

    @property
    def effective_macs(self) -> int:
        """Multiplications left when the patterns' zeros are skipped."""
        return sum(gemm.effective_macs for gemm in self.gemms)

    @property
    def parameters(self) -> int:
        """Trained elements."""
        return sum(op.elements for op in self.ops if isinstance(op, Update))

    def with_ops(self, ops: tuple[Op, ...]) -> "Workload":
        return replace(self, ops=ops)
