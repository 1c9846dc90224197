"""What surrounds a pruner: seeded streams at its ports, for the native model and, as a cocotb module, in a simulation."""

import os
import pickle
import random
from dataclasses import dataclass, field
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from simulator.arch import Accelerator, ceil_div
from simulator.arithmetic import compress
from workloads.sparsity import NM

OUTPUTS = ("commands__ready", "elements__ready", "packed__valid", "packed__payload")
_BITS = {"fp16": np.uint16, "bf16": np.uint32, "int8": np.uint8}


def numbers(format_name: str, bits):
    """Operands with the given bits, stored as the golden model stores them."""
    if format_name == "bf16":
        return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)
    return np.asarray(bits).astype(_BITS[format_name]).view({"fp16": np.float16, "int8": np.int8}[format_name])


def bits_of(format_name: str, values):
    """The bits of operands."""
    raw = np.ascontiguousarray(values).view(_BITS[format_name])
    return raw >> 16 if format_name == "bf16" else raw


@dataclass
class Surroundings:
    """Offers commands, elements and readiness, and records what passes; `stall` is the chance of not offering."""

    accelerator: Accelerator
    jobs: list  # (pattern, bits of the elements by group and index)
    stall: float
    seed: int
    cycle: int = 0
    taken: list = field(default_factory=list)  # cycles in which commands,
    accepted: list = field(default_factory=list)  # elements
    delivered: list = field(default_factory=list)  # and rounds passed
    rounds: list = field(default_factory=list)  # payloads of the delivered

    def __post_init__(self) -> None:
        pe, lanes = self.accelerator.pe, self.accelerator.pruner.lanes
        self.rng = random.Random(self.seed)
        self.size, self.bits = pe.group.bit_length(), pe.number.operand_bits
        self.commands, self.beats, self.expected = [], [], []
        for pattern, groups in self.jobs:
            count = len(groups)
            self.commands.append(pattern.keep | pattern.group << self.size | count << 2 * self.size)
            for first in range(0, count, lanes):
                for index in range(pattern.group):
                    beat = [int(groups[g][index]) if g < count else self._garbage() for g in range(first, first + lanes)]
                    self.beats.append(sum(value << lane * self.bits for lane, value in enumerate(beat)))
                self.expected.append((pattern, groups[first : first + lanes], first + lanes >= count))
        self.offered = {"commands": None, "elements": None}
        self.shown = None  # a payload that was valid and not yet taken

    def _garbage(self) -> int:
        return self.rng.getrandbits(self.bits)

    @property
    def finished(self) -> bool:
        return len(self.delivered) == len(self.expected)

    def offer(self) -> dict:
        """Inputs of this cycle. A stream that has offered something keeps to it."""
        ports = {}
        for name, items, passed in (("commands", self.commands, self.taken), ("elements", self.beats, self.accepted)):
            if self.offered[name] is None and len(passed) < len(items) and self.rng.random() >= self.stall:
                self.offered[name] = items[len(passed)]
            valid = self.offered[name] is not None
            width = 2 * self.size + 32 if name == "commands" else self.bits * self.accelerator.pruner.lanes
            ports[f"{name}__valid"] = int(valid)
            ports[f"{name}__payload"] = self.offered[name] if valid else self.rng.getrandbits(width)
        if self.stall and self.cycle % 200 >= 150:  # at times nothing is taken for long: everything fills up
            return ports | {"packed__ready": int(self.cycle % 200 == 199)}
        return ports | {"packed__ready": int(self.rng.random() >= self.stall)}

    def step(self, ports: dict, outputs: dict) -> None:
        """Record the transfers of this cycle."""
        for name, passed in (("commands", self.taken), ("elements", self.accepted)):
            if ports[f"{name}__valid"] and outputs[f"{name}__ready"]:
                passed.append(self.cycle)
                self.offered[name] = None
        valid, payload = outputs["packed__valid"], outputs["packed__payload"]
        if self.shown is not None:
            assert valid, f"cycle {self.cycle}: a round must stay valid until it is taken"
            assert payload == self.shown, f"cycle {self.cycle}: a round must not change until it is taken"
        self.shown = payload if valid and not ports["packed__ready"] else None
        if valid and ports["packed__ready"]:
            self.delivered.append(self.cycle)
            self.rounds.append(payload)
            assert not self.finished or len(self.accepted) == len(self.beats), "a round must not come before its elements"
        self.cycle += 1
        assert self.cycle < 40 * (len(self.beats) + 100), "the pruner must not hang"

    def check(self) -> None:
        """Every round equals the golden model's compression; without stalls every cycle equals the closed form."""
        assert (len(self.taken), len(self.accepted)) == (len(self.commands), len(self.beats))
        for number, (payload, (pattern, groups, last)) in enumerate(zip(self.rounds, self.expected, strict=True)):
            got, want = self.unpack(payload), self._golden(pattern, groups)
            assert got == (want, (1 << len(groups)) - 1, pattern.keep, last), f"round {number}, {pattern}: {got} not {want}"
        if self.stall == 0:
            self._check_cycles()

    def _check_cycles(self) -> None:
        pruner, start, first = self.accelerator.pruner, 0, 1
        rounds = 0
        for (pattern, groups), taken in zip(self.jobs, self.taken, strict=True):
            cycles = pruner.cycles(len(groups) * pattern.group, pattern)
            assert taken == first - 1, "a command must be taken with the last element of the one before"
            assert self.accepted[start : start + cycles] == list(range(first, first + cycles))
            for each in range(ceil_div(len(groups), pruner.lanes)):
                out = first + (each + 1) * pattern.group - 1 + pruner.latency
                assert self.delivered[rounds] == out, f"round {rounds} must be out in {out}, not {self.delivered[rounds]}"
                rounds += 1
            start, first = start + cycles, first + cycles
        assert start == len(self.accepted)

    def busy(self) -> list[int]:
        """Cycles from each command's first accepted element to its last, both included."""
        lanes, at, lengths = self.accelerator.pruner.lanes, 0, []
        for pattern, groups in self.jobs:
            beats = -(-len(groups) // lanes) * pattern.group
            lengths.append(self.accepted[at + beats - 1] - self.accepted[at] + 1)
            at += beats
        return lengths

    def unpack(self, payload: int):
        """Of a round: (value, index) pairs by lane with a group, lanes that have one, N, and whether it is the last."""
        pe, lanes = self.accelerator.pe, self.accelerator.pruner.lanes
        index_bits = max(1, (pe.group - 1).bit_length())
        entry = self.bits + index_bits
        above = payload >> lanes * pe.group * entry
        present, keep, last = above % (1 << lanes), (above >> lanes) % (1 << self.size), above >> lanes + self.size
        entries = []
        for lane in range(lanes):
            if present >> lane & 1:
                row = [(payload >> (lane * pe.group + i) * entry) % (1 << entry) for i in range(keep)]
                entries.append([(word % (1 << self.bits), word >> self.bits) for word in row])
        return entries, present, keep, bool(last)

    def _golden(self, pattern: NM, groups):
        name = self.accelerator.pe.format
        packed = compress(numbers(name, groups), pattern, 1)
        values = bits_of(name, packed.values)
        return [[(int(v), int(i)) for v, i in zip(*row, strict=True)] for row in zip(values, packed.indices, strict=True)]


async def _play(dut, surroundings: Surroundings, cycles: int) -> None:
    while not surroundings.finished and surroundings.cycle < cycles:
        ports = surroundings.offer()
        for name, value in ports.items():
            getattr(dut, name).value = value
        await FallingEdge(dut.clk)
        surroundings.step(ports, {name: int(getattr(dut, name).value) for name in OUTPUTS})
        await RisingEdge(dut.clk)


@cocotb.test()
async def sessions(dut):
    """Each session from reset; one that is to be `cut` off in the middle is reset there and not checked."""
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    for surroundings, cut in pickle.loads(Path(os.environ["SESSIONS"]).read_bytes()):
        dut.rst.value, dut.commands__valid.value, dut.elements__valid.value, dut.packed__ready.value = 1, 0, 0, 0
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        await _play(dut, surroundings, cut or 10**9)
        if not cut:
            surroundings.check()
