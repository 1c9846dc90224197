"""Fusion of vector operations: chained element-wise work streams through the vector unit once, no intermediate stored.

A group is one head (element-wise, norm or batch norm) and the element-wise operations that follow it. An operation
joins the group that wrote a tensor it reads when

* both run in one phase and walk equally many elements, and the tensor is read whole;
* every other reader of the group's tensors comes later in the program. So no path leaves the group and comes back, and
  the fused operation can stand where its last member stood, all other operations keeping their order;
* the traffic (reads times passes, plus writes) does not grow, as it could where a batch norm's two passes would stream
  a joined operand twice.

Norm before element-wise only: an element-wise operation ahead of a norm keeps its own pass.
"""

from collections import Counter
from dataclasses import replace

from workloads.graph import Workload, read_names, write_names
from workloads.ops import Op, Tensor, Vector, VectorKind

__all__ = ["fuse_vectors", "traffic_elements"]

_HEADS = (VectorKind.MAP, VectorKind.NORM, VectorKind.BATCH_NORM)
_LISTED = 4  # operations listed one by one in a fused operation's name


def traffic_elements(op: Vector) -> int:
    """Elements that a vector operation moves when nothing stays on chip."""
    return op.passes * sum(t.elements for t in op.reads) + sum(t.elements for t in op.writes)


def fuse_vectors(workload: Workload) -> Workload:
    """The workload with chains of vector operations merged; all others stay as they are. Fusing twice changes nothing.

    A fused operation has its first member's name and layer, the head's kind, the sum of the work, the tensors read from
    outside, and the tensors written that something outside reads or that nothing reads (results).
    """
    fusion = _Fusion(workload.ops)
    while fusion.sweep():
        pass
    return workload.with_ops(tuple(_labelled(op, fusion) for op in fusion.slots if op is not None))


class _Fusion:
    """Program positions with the operation now at each (None: merged into a later one), and who uses each tensor."""

    def __init__(self, ops: tuple[Op, ...]) -> None:
        self.slots: list[Op | None] = list(ops)
        self.members: dict[str, int] = {}  # fused operations by name
        self.writers: dict[str, set[int]] = {}
        self.readers: dict[str, set[int]] = {}
        for at, op in enumerate(ops):
            for name in write_names(op):
                self.writers.setdefault(name, set()).add(at)
            for name in read_names(op):
                self.readers.setdefault(name, set()).add(at)

    def sweep(self) -> bool:
        """Merge what can be merged, in program order; whether anything was."""
        changed = False
        for at in range(len(self.slots)):
            while self._join(at):
                changed = True
        return changed

    def _join(self, at: int) -> bool:
        """Merge the operation at a position with the latest producer that takes it; whether one did."""
        op = self.slots[at]
        if not isinstance(op, Vector) or op.kind is not VectorKind.MAP:
            return False
        producers = {w for t in op.reads for w in self.writers.get(t.name, ())}
        for head_at in sorted(producers, reverse=True):
            head = self.slots[head_at]
            if isinstance(head, Vector) and (fused := self._fused(head_at, head, at, op)) is not None:
                self._replace(head_at, head, at, op, fused)
                return True
        return False

    def _fused(self, head_at: int, head: Vector, at: int, op: Vector) -> Vector | None:
        if head.kind not in _HEADS or head.phase is not op.phase or _width(head) != _width(op):
            return None
        written = {t.name: t.elements for t in head.writes}
        if any(len(self.writers[name]) > 1 for name in written):
            return None
        if any(written.get(t.name, t.elements) != t.elements for t in op.reads):
            return None
        if any(reader < at for t in head.writes for reader in self.readers.get(t.name, ()) if reader != head_at):
            return None
        reads = {t.name: t for t in head.reads}
        for t in op.reads:
            if t.name not in written and t.elements > reads.get(t.name, Tensor("", 0)).elements:
                reads[t.name] = t
        writes = [t for t in head.writes if self.readers.get(t.name, set()) != {at}]
        fused = replace(
            head,
            operation=f"{head.operation}+{op.operation}",
            work=head.work + op.work,
            reads=tuple(reads.values()),
            writes=(*writes, *op.writes),
        )
        return fused if traffic_elements(fused) <= traffic_elements(head) + traffic_elements(op) else None

    def _replace(self, head_at: int, head: Vector, at: int, op: Vector, fused: Vector) -> None:
        self.slots[head_at], self.slots[at] = None, fused
        for users, old, new in (
            (self.readers, (*head.reads, *op.reads), fused.reads),
            (self.writers, (*head.writes, *op.writes), fused.writes),
        ):
            for t in old:
                users.get(t.name, set()).difference_update((head_at, at))
            for t in new:
                users.setdefault(t.name, set()).add(at)
        self.members[fused.name] = self.members.pop(op.name, 1) + self.members.get(head.name, 1)


def _width(op: Vector) -> int:
    """Elements that the operation walks: its largest tensor (a bias or a statistic is broadcast)."""
    return max((t.elements for t in (*op.reads, *op.writes)), default=0)


def _labelled(op: Op, fusion: _Fusion) -> Op:
    """A long fused operation's name with counts: ``add+mul+add+mul+add`` becomes ``3 add+2 mul``."""
    if not isinstance(op, Vector) or fusion.members.get(op.name, 1) <= _LISTED:
        return op
    counts = Counter(op.operation.split("+"))
    text = "+".join(f"{count} {name}" if count > 1 else name for name, count in counts.items())
    return replace(op, operation=text)
