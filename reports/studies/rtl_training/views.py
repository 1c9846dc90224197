"""A training run on a memory image: the RTL, or the golden interpreter, executes the step's programs on it."""

from collections.abc import Callable
from dataclasses import fields
from time import perf_counter

import numpy as np

from dataflows.regions import read, write
from reports.studies.rtl_training.network import Step
from rtl.native.machine import MachineModel
from simulator.arch import Accelerator
from simulator.arithmetic import Values, quantize
from simulator.encoding import Fault
from simulator.formats import FORMATS
from simulator.image import Bytes
from simulator.interpreter import Registers, interpret
from simulator.result import Counters

__all__ = ["Execute", "ImageView", "golden", "initial_image", "rtl"]

Execute = Callable[[bytes, Bytes, Registers], tuple[int, Counters]]
"""Runs a program on an image, in place, with the optimizer's registers; cycles (0 where there is no time) and counters."""


def rtl(model: MachineModel) -> Execute:
    """The compiled Verilog. Raises RuntimeError where it stops with a fault."""

    def execute(program: bytes, image: Bytes, of: Registers) -> tuple[int, Counters]:
        registers = {field.name: float(getattr(of, field.name)) for field in fields(of)}
        ran = model.run(program, image, registers=registers)
        if ran.fault is not Fault.NONE:
            raise RuntimeError(f"Machine must run its program, not stop at command {ran.fault_command} with {ran.fault.name}")
        return ran.cycles, ran.counters

    return execute


def golden(accelerator: Accelerator) -> Execute:
    """The interpreter, which also checks every command."""
    return lambda program, image, of: (0, interpret(program, image, accelerator, of))


def initial_image(step: Step, w1: Values, w2: Values) -> Bytes:
    """Memory before the first step: weights, velocities 0, copies of the weights; everything else 0."""
    image = np.zeros(step.placed.memory_bytes, np.uint8)
    weights = {"w1": w1, "w2": w2}
    for name, region in step.placed.tensors.items():
        parameter, _, what = name.partition(" ")
        if parameter in weights and what != "velocity":
            matrix = weights[parameter] if what == "master" else quantize(FORMATS["fp16"], weights[parameter])
            write(image, region, matrix.reshape(region.rows, region.row_elements))
    return image


class ImageView:
    """A training run on `image`, which it changes.

    `ran` has cycles and counters of each program that was run, by part of the step; `seconds` is
    the time that all of them took here.
    """

    def __init__(self, step: Step, image: Bytes, execute: Execute) -> None:
        self.step, self.image, self._execute = step, image, execute
        self.ran: dict[str, list[tuple[int, Counters]]] = {"forward": [], "backward": []}
        self.seconds = 0.0

    def forward(self, x: Values) -> Values:
        """The batch's logits."""
        self._put("x", x)
        self._run("forward", self.step.forward, Registers())
        return read(self.image, self.step.placed.tensors["logits"])

    def backward(self, gradient: Values, of: Registers) -> None:
        """From the gradient by the logits to new weights and their copies, with the optimizer's coefficients."""
        self._put("dlogits", gradient)
        self._run("backward", self.step.backward, of)

    def state(self) -> dict[str, Values]:
        """FP32 weights [outputs][inputs] and velocities, by region."""
        network = self.step.network
        shapes = {"w1": (network.hidden, network.inputs), "w2": (network.outputs, network.hidden)}
        return {
            f"{name} {what}": read(self.image, self.step.placed.tensors[f"{name} {what}"]).reshape(shape)
            for what in ("master", "velocity")
            for name, shape in shapes.items()
        }

    def _run(self, part: str, program: bytes, of: Registers) -> None:
        begun = perf_counter()
        self.ran[part].append(self._execute(program, self.image, of))
        self.seconds += perf_counter() - begun

    def _put(self, name: str, matrix: Values) -> None:
        write(self.image, self.step.placed.tensors[name], matrix)
