"""The part of placing that concerns work slots: vector operations, updates and prunings on flat tensors, packed copies."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from dataflows.chunks import COPY, GRADIENT, MASK, STATE, WEIGHT, packed_planes
from dataflows.place_regions import Use, kept_name, span_of
from dataflows.regions import Region, Span
from simulator.arch import Accelerator, ceil_div
from simulator.encoding import Opcode
from simulator.image import Element, operand_element, result_element
from simulator.layout import plane_bytes
from simulator.schedule import Command, Engine, Load, Program, Prune, Store, Unsupported, UnsupportedError, Update, Vector
from simulator.vector_operations import VectorOperation
from workloads import ops
from workloads.gemm import Gemm

__all__ = ["WorkPlacer", "mask_name", "master_name", "second_name", "velocity_name", "work_uses"]

# Names as traces have them, and those of the opcodes, by how many tensors of the output's size are read.
_ONE = {"relu": "RELU", "relu_": "RELU", "mul": "SCALE", "scale": "SCALE", "clone": "COPY", "_to_copy": "COPY", "copy": "COPY"}
_TWO = {
    "add": "ADD",
    "mul": "MULTIPLY",
    "multiply": "MULTIPLY",
    "threshold_backward": "RELU_GRADIENT",
    "relu_gradient": "RELU_GRADIENT",
}


def _refuse(what: str, demand: int = 1, limit: int = 0) -> UnsupportedError:
    return UnsupportedError(Unsupported(what, demand, limit))


def master_name(parameter: str) -> str:
    """The region of a parameter's FP32 weights."""
    return f"{parameter} master"


def velocity_name(parameter: str) -> str:
    """The region of the momentum, or of Adam's first moment."""
    return f"{parameter} velocity"


def second_name(parameter: str) -> str:
    """The region of Adam's second moment."""
    return f"{parameter} second"


def mask_name(parameter: str) -> str:
    """The region of the mask of SR-STE's decay."""
    return f"{parameter} mask"


def work_uses(program: Program, used: set[int], accelerator: Accelerator) -> Iterator[Use]:
    """Tensors that the operations among `used` take flat: all of a matrix's elements in a row."""

    def flat(name: str, elements: int, element: Element) -> Use:
        return Use(region=name, rows=1, row_elements=elements, element=element, starts=frozenset({0}), flat=True)

    number = accelerator.pe.number
    names = {op.optimizer.name for index, op in enumerate(program.ops) if index in used and isinstance(op, ops.Update)}
    if len(names) > 1:
        listed = ", ".join(sorted(names))
        raise _refuse(f"optimizers in a program ({listed}), whose coefficients are one set of registers", len(names), 1)
    for index, op in enumerate(program.ops):
        if index not in used:
            continue
        match op:
            case ops.Vector():
                for tensor in (*op.reads, *op.writes):
                    yield flat(tensor.name, tensor.elements, result_element(number))
            case ops.Prune():
                yield flat(op.source.name, op.source.elements, operand_element(number))
            case ops.Update():
                _check_update(op, accelerator)
                yield flat(master_name(op.parameter), op.elements, Element.FP32)
                yield flat(velocity_name(op.parameter), op.elements, Element.FP32)
                if op.optimizer.is_adam:
                    yield flat(second_name(op.parameter), op.elements, Element.FP32)
                yield flat(op.gradient, op.elements, result_element(number))
                if op.decay:
                    yield flat(mask_name(op.parameter), op.elements, Element.MASK)
                if op.dense_copy and (name := _low_precision(program, op)):
                    yield flat(name, op.elements, operand_element(number))
            case Gemm():
                pass


def _check_update(op: ops.Update, accelerator: Accelerator) -> None:
    known = accelerator.updater.optimizers
    if ("adam" if op.optimizer.is_adam else op.optimizer.name) not in known:
        raise _refuse(f"optimizer {op.optimizer.name!r} of {op.name!r} in the RTL of an updater for {', '.join(known)}")
    if accelerator.pe.format == "int8":
        raise _refuse(f"an optimizer for {op.name!r} on a machine of integers in the RTL")


def _low_precision(program: Program, op: ops.Update) -> str:
    """The tensor that GEMMs read for an update's parameter. Raises UnsupportedError where it has several names."""
    names = {
        o.tensor for gemm in program.ops if isinstance(gemm, Gemm) for o in (gemm.a, gemm.b) if o.parameter == op.parameter
    }
    if len(names) > 1:
        raise UnsupportedError(Unsupported(f"tensors that GEMMs read for parameter {op.parameter!r}", len(names), 1))
    return next(iter(names), f"{op.parameter} copy")


@dataclass(slots=True)
class WorkPlacer:
    """Fields of the commands on work slots, in program order: a tensor's chunks follow one another."""

    program: Program
    accelerator: Accelerator
    tensors: dict[str, Region]
    scalars: Mapping[str, float]
    _moved: dict[tuple[int, Engine, int], int] = field(default_factory=lambda: defaultdict(int))  # bytes of a tensor so far
    _loaded: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])  # bytes in a plane
    _pruned: dict[tuple[int, int], range] = field(default_factory=dict[tuple[int, int], range])  # elements in a values plane

    def opcode_fields(self, command: Command) -> tuple[Opcode, dict[str, int]]:
        match command:
            case Load():
                self._loaded[command.op, command.plane] = command.run_bytes
                return Opcode.LOAD_WORK, self._flat(command, self._dense(command)) | {"plane": command.plane}
            case Store(pattern=None):
                kept = {"kept": 0, "indices": 0, "group": 0, "entries": 0}
                return Opcode.STORE_WORK, self._flat(command, self._dense(command)) | {"plane": command.plane} | kept
            case Store():
                return Opcode.STORE_WORK, self._packed(command)
            case Vector():
                return Opcode.VECTOR, self._vector(command)
            case Update():
                names = ("weight", "velocity", "second", "gradient", "copy", "mask")
                planes = {name: getattr(command, name) for name in names}
                flags = {"masked": int(command.masked), "adam": int(command.adam)}
                return Opcode.UPDATE, {"slot": command.slot, "elements": command.elements} | flags | planes
            case Prune(buffer="work"):
                return Opcode.PRUNE, self._prune(command)
            case _:
                raise _refuse(f"{type(command).__name__} in the operand buffers (pruning at use)")

    def _dense(self, command: Load | Store) -> str:
        """The region between which and the plane a command moves elements."""
        op, plane = self.program.ops[command.op], command.plane
        match op:
            case ops.Vector():
                return (*op.reads, *op.writes)[plane].name
            case ops.Prune():
                return op.source.name
            case ops.Update():
                copy = _low_precision(self.program, op) if op.dense_copy else ""
                names = {
                    WEIGHT: master_name(op.parameter),
                    STATE[0]: velocity_name(op.parameter),
                    STATE[1]: second_name(op.parameter),
                    MASK: mask_name(op.parameter),
                }
                names |= {GRADIENT: op.gradient} if isinstance(command, Load) else {COPY: copy}
                return names[plane]
            case Gemm():
                raise AssertionError("GEMMs have no commands on work slots")

    def _flat(self, command: Load | Store, name: str) -> dict[str, int]:
        """The tensor's next bytes, as one row."""
        at, burst = (command.op, command.engine, command.plane), self.accelerator.dram.burst_bytes
        region, offset, size = self.tensors[name], self._moved[at], command.run_bytes
        if command.runs != 1:
            raise _refuse(f"runs of a work tensor {name!r}", command.runs, 1)
        if offset % burst:
            raise _refuse(f"bytes beyond a burst at which a chunk of tensor {name!r} begins", offset % burst)
        if size > (most := plane_bytes(self.accelerator)):
            raise _refuse(f"bytes of a plane of the work buffer for tensor {name!r}", size, most)
        self._moved[at] = offset + size
        return _transfer(Span(region.address + offset, 1, size, ceil_div(size, burst) * burst), command.slot)

    def _packed(self, command: Store) -> dict[str, int]:
        """Rows of a compressed copy; one long row where rows have no padding."""
        op, elements, pattern = self.program.ops[command.op], self._pruned[command.op, command.plane], command.pattern
        assert pattern is not None
        tensor, across = op.target if isinstance(op, ops.Prune) else "", False
        if isinstance(op, ops.Prune):
            names = {kept_name(tensor, pattern, across=way): way for way in (False, True)}
        else:
            assert isinstance(op, ops.Update)
            across = {packed_planes(i)[0]: stage == "bp" for i, (stage, _) in enumerate(op.prune)}[command.plane]
            names = {kept_name(_low_precision(self.program, op), pattern, across=across): across}
        found = [name for name in names if name in self.tensors]
        if len(found) != 1:
            raise _refuse(f"regions of the compressed copy that {op.name!r} makes ({' or '.join(names)})", len(found), 1)
        region = self.tensors[found[0]]
        columns = range(region.row_elements)
        if elements.start % len(columns) or elements.stop % len(columns):
            raise _refuse(
                f"elements beyond whole rows of {len(columns)} in a chunk of {op.name!r}", elements.stop % len(columns)
            )
        rows = range(elements.start // len(columns), elements.stop // len(columns))
        span, entries = span_of(found[0], region, rows, columns), region.entries(len(columns))
        bits = entries * self.accelerator.pe.stored_bits(pattern)
        if bits == 8 * span.pitch:
            span, entries = Span(span.address, 1, span.rows * span.row_bytes, span.rows * span.pitch), entries * span.rows
        return _transfer(span, command.slot) | {
            "plane": command.plane,
            "kept": 1,
            "indices": command.indices,
            "group": pattern.group,
            "entries": entries,
        }

    def _vector(self, command: Vector) -> dict[str, int]:
        op = self.program.ops[command.op]
        if not isinstance(op, ops.Vector):
            raise _refuse(f"vector operation {command.operation!r} of {op.name!r} in the RTL")
        names = _ONE if len(op.reads) == 1 else _TWO if len(op.reads) == 2 else {}
        sizes = {tensor.elements for tensor in (*op.reads, *op.writes)}
        if op.operation not in names or len(op.writes) != 1 or op.kind not in (ops.VectorKind.MAP, ops.VectorKind.MOVE):
            raise _refuse(f"vector operation {op.operation!r} ({op.kind}) of {len(op.reads)} tensors ({op.name!r}) in the RTL")
        if len(sizes) > 1 or command.work * result_element(self.accelerator.pe.number).bits != 8 * self._loaded[command.op, 0]:
            raise _refuse(f"sizes of tensors of vector operation {op.name!r} (one element operation each)", len(sizes), 1)
        operation = VectorOperation[names[op.operation]]
        if operation is VectorOperation.SCALE and op.name not in self.scalars:
            raise _refuse(f"a scalar for vector operation {op.name!r}")
        return {
            "slot": command.slot,
            "operation": int(operation),
            "x": command.x,
            "y": command.y,
            "out": command.out,
            "elements": command.work,
            "scalar": int(np.float32(self.scalars.get(op.name, 0.0)).view(np.uint32)),
        }

    def _prune(self, command: Prune) -> dict[str, int]:
        op, lanes = self.program.ops[command.op], self.accelerator.pruner.lanes
        group = command.pattern.group
        if group & (group - 1):
            raise _refuse(f"a group that is a power of two for {op.name!r} in the RTL", group, 1 << group.bit_length() - 1)
        if command.across and not command.row_elements:
            raise _refuse(f"a row length for pruning down the rows in {op.name!r}")
        row = command.row_elements if command.across else command.elements  # along, rows don't matter
        if command.across and row % lanes:
            raise _refuse(f"elements of a row of {op.name!r} beyond whole beats of the pruner's {lanes} lanes", row % lanes)
        if command.elements % (row if not command.across else group * row):
            raise _refuse(f"elements beyond whole groups of rows in a chunk of {op.name!r}", command.elements % (group * row))
        before = self._pruned.get((command.op, command.values), range(0))
        self._pruned[command.op, command.values] = range(before.stop, before.stop + command.elements)
        planes = {name: getattr(command, name) for name in ("source", "values", "indices")}
        across = {"across": int(command.across), "row_elements": row, "elements": command.elements}
        return {"slot": command.slot, **planes, **across, "keep": command.pattern.keep, "group": group}


def _transfer(span: Span, slot: int) -> dict[str, int]:
    return {"address": span.address, "slot": slot, "rows": span.rows, "row_bytes": span.row_bytes, "pitch": span.pitch}
