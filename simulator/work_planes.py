"""The golden work buffer of binary programs: planes of bytes, and what pruner, updater and vector unit do to them."""

from dataclasses import dataclass, field

import numpy as np

from simulator.arch import Accelerator
from simulator.arithmetic import Packed, Values, compress, sgd_momentum
from simulator.golden import GoldenError
from simulator.hazards import Hazards
from simulator.image import Bytes, Element, bytes_of, operand_element, pack_entries, result_element, values_of
from simulator.layout import plane_bytes
from simulator.optimizers import AdamCoefficients, adam
from simulator.result import Counters
from simulator.vector_operations import VectorOperation, vector_operation
from workloads.sparsity import NM

__all__ = ["Registers", "WorkPlanes"]

_TWO_OPERANDS = (VectorOperation.ADD, VectorOperation.RELU_GRADIENT, VectorOperation.MULTIPLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """The optimizer's coefficients; the machine holds them as FP32. The names are those of `simulator.optimizers`."""

    lr: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    decay: float = 0.0
    gain: float = 1.0  # this and what follows is Adam's; SGD takes the whole gradient, whatever this is
    square_momentum: float = 0.0
    square_gain: float = 0.0
    eps: float = 0.0
    decoupled_decay: float = 0.0


@dataclass(slots=True)
class WorkPlanes:
    """The planes of all slots. Raises GoldenError where a command reads what is not there, or writes more than fits.

    An element of a plane is in the format that its reader takes: values of the pruner in operand format, indices a byte each,
    gradients and vector operands in result format, weights and velocities FP32, a mask's elements a bit each.
    """

    accelerator: Accelerator
    registers: Registers
    hazards: Hazards
    counters: Counters
    content: dict[tuple[int, int], Bytes] = field(default_factory=dict[tuple[int, int], Bytes])  # by (slot, plane), as written
    optimizer: int | None = None  # field `adam` of the updates so far

    def read(self, slot: int, plane: int, element: Element, elements: int) -> Values:
        self.hazards.read(("work", slot, plane))
        content, size = self.content.get((slot, plane)), element.row_bytes(elements)
        if content is None or len(content) < size:
            found = 0 if content is None else len(content)
            raise GoldenError(f"Plane {plane} of work slot {slot} must hold {size} bytes, not {found}")
        return values_of(element, content, elements)

    def write(self, slot: int, plane: int, content: Bytes) -> None:
        if len(content) > (most := plane_bytes(self.accelerator)):
            raise GoldenError(f"Plane {plane} of work slot {slot} must take at most {most} bytes, not {len(content)}")
        self.hazards.write(("work", slot, plane))
        self.content[slot, plane] = content

    def prune(self, get: dict[str, int]) -> None:
        slot, elements, pattern = get["slot"], get["elements"], NM(get["keep"], get["group"])
        if elements % get["row_elements"]:
            raise GoldenError(f"Field 'elements' must be whole rows of {get['row_elements']}, not {elements}")
        lanes, element = self.accelerator.pruner.lanes, operand_element(self.accelerator.pe.number)
        if get["across"] and get["row_elements"] % lanes:
            raise GoldenError(f"Field 'row_elements' must be whole beats of {lanes} lanes, not {get['row_elements']}")
        matrix = self.read(slot, get["source"], element, elements).reshape(-1, get["row_elements"])
        if matrix.shape[0 if get["across"] else 1] % pattern.group:
            raise GoldenError(f"Matrix of {matrix.shape} must split into groups of {pattern.group} along its reduction")
        # Down the rows: group after group of rows, in it column after column.
        groups = matrix.reshape(-1, pattern.group, matrix.shape[1]).transpose(0, 2, 1) if get["across"] else matrix
        packed = compress(groups.reshape(-1, pattern.group), pattern, 1)
        self.write(slot, get["values"], bytes_of(element, packed.values.reshape(-1)))
        self.write(slot, get["indices"], packed.indices.reshape(-1).astype(np.uint8))
        self.counters.pruned_elements += elements

    def update(self, get: dict[str, int]) -> None:
        number, slot, elements, use = self.accelerator.pe.number, get["slot"], get["elements"], self.registers
        if self.optimizer not in (None, get["adam"]):
            raise GoldenError(f"Field 'adam' must be the same in all of a program's updates, not {get['adam']}")
        self.optimizer = get["adam"]
        weight, velocity = (self.read(slot, get[name], Element.FP32, elements) for name in ("weight", "velocity"))
        gradient = self.read(slot, get["gradient"], result_element(number), elements)
        mask = self.read(slot, get["mask"], Element.MASK, elements) if get["masked"] else None
        state: dict[str, Values] = {}
        if get["adam"]:
            second = self.read(slot, get["second"], Element.FP32, elements)
            rates = AdamCoefficients(**{name: getattr(use, name) for name in AdamCoefficients._fields})
            *new, copy = adam(weight, velocity, second, gradient, number, rates, mask)
            state = dict(zip(("weight", "velocity", "second"), new, strict=True))
        else:
            rates = {"lr": use.lr, "momentum": use.momentum, "weight_decay": use.weight_decay, "decay": use.decay}
            state["weight"], state["velocity"], copy = sgd_momentum(weight, velocity, gradient, number, mask=mask, **rates)
        for name, values in state.items():
            self.write(slot, get[name], bytes_of(Element.FP32, _canonical(values)))
        self.write(slot, get["copy"], bytes_of(operand_element(number), copy))
        self.counters.updated_elements += elements

    def vector(self, get: dict[str, int]) -> None:
        number, slot, elements = self.accelerator.pe.number, get["slot"], get["elements"]
        element, operation = result_element(number), VectorOperation(get["operation"])
        x = self.read(slot, get["x"], element, elements)
        y = self.read(slot, get["y"], element, elements) if operation in _TWO_OPERANDS else x
        scalar = float(np.array(get["scalar"], np.uint32).view(np.float32))
        self.write(slot, get["out"], bytes_of(element, vector_operation(number, operation, x, y, scalar)))
        self.counters.vector_operations += elements

    def rows(self, get: dict[str, int]) -> Bytes:
        """What a STORE_WORK writes: rows of a plane as they are, or entries packed from its values and a plane of indices."""
        number, slot, rows = self.accelerator.pe.number, get["slot"], get["rows"]
        if not get["kept"]:
            return self.read(slot, get["plane"], Element.INT8, rows * get["row_bytes"]).view(np.uint8).reshape(rows, -1)
        entries = get["entries"]
        values = self.read(slot, get["plane"], operand_element(number), rows * entries).reshape(rows, entries)
        indices = self.read(slot, get["indices"], Element.INT8, rows * entries).view(np.uint8).reshape(rows, entries)
        return pack_entries(number, NM(1, get["group"]), Packed(values, indices.astype(np.int32)))


def _canonical(values: Values) -> Values:
    """The one NaN that the machine stores."""
    return np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32)).view(np.float32)
