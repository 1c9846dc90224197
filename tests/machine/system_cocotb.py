"""Runs inside the simulator: `rtl.host.Host`, as people use it, on the pins of a whole system."""

import os
import pickle
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.task import bridge
from rtl_kit.serial_line import SerialLine, started
from system_run import Board

from dse.verify_programs import Case
from rtl.host import BoardError, Host
from rtl.protocol import WORD_BYTES, Info, Opcode, Space, Status, checksum, request
from simulator.binary import program_of
from simulator.encoding import COMMAND_BYTES, VERSION, Fault
from simulator.encoding import Opcode as Command
from simulator.interpreter import interpret
from simulator.layout import bus_bytes
from simulator.machine import run
from simulator.register_map import REGISTERS

BOARD, CASES = pickle.loads(Path(os.environ["PLAN"]).read_bytes())
assert isinstance(BOARD, Board)
assert all(isinstance(case, Case) for case in CASES)
SEED = 11
IDLE = BOARD.idle_cycles / BOARD.clock_hz
TIMEOUT = 4000 / BOARD.clock_hz


def driver(port: Any) -> Host:
    return Host(port, timeout=TIMEOUT, quiet=2 * IDLE)


class Disturbed:
    """A line that changes, loses or adds bytes of every third write, at random."""

    def __init__(self, line: SerialLine) -> None:
        self.line, self.random, self.writes, self.disturbed = line, random.Random(SEED), 0, 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        if self.writes % 3 == 0:
            place, kind = self.random.randrange(len(data)), self.random.randrange(3)
            changed = bytes([data[place] ^ 1 << self.random.randrange(8)])
            data = data[:place] + (changed, b"", changed + data[place : place + 1])[kind] + data[place + 1 :]
            self.disturbed += 1
        self.line.write(data)

    def read(self, count: int, timeout: float) -> bytes:
        data = self.line.read(count, timeout)
        if data and self.random.random() < 0.05:
            place = self.random.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            self.disturbed += 1
        return data


def run_case(host: Host, case: Case) -> None:
    """All bytes of memory, all counters and the cycles are the other views'."""
    rest = np.random.default_rng(SEED).integers(0, 256, BOARD.memory_bytes - case.image.size, np.uint8)
    before = np.concatenate([case.image, rest])
    host.load(case.data, before)
    for name in ("lr", "momentum", "weight_decay", "decay"):
        host.write_register(name, float(getattr(case.registers, name)))
    ran = host.run(timeout=600)
    image = before.copy()
    golden = interpret(case.data, image, BOARD.accelerator, case.registers)
    found = np.frombuffer(host.read_memory(0, BOARD.memory_bytes), np.uint8)
    assert np.flatnonzero(found != image).tolist() == [], case.name
    assert image.tobytes() != before.tobytes(), f"{case.name}: a program must change memory"
    simulated = run(program_of(case.data), BOARD.accelerator)
    assert (ran.fault, ran.counters) == (Fault.NONE, simulated.counters), case.name
    assert ran.counters == golden
    if BOARD.wide_program:
        assert ran.cycles == simulated.cycles, case.name
    else:
        assert ran.cycles >= simulated.cycles, case.name
    if case is CASES[0]:
        assert host.read_program(0, len(case.data)) == case.data
    cocotb.log.info("%s: %d cycles, simulator %d", case.name, ran.cycles, simulated.cycles)


@cocotb.test()
async def programs(dut: Any):
    """What the board says of itself, and programs, one of them again after the others and after a reset."""
    line = await started(dut, BOARD.clock_hz, BOARD.divisor)

    def session() -> None:
        host = driver(line)
        identity = host.identify()
        assert identity.digest == BOARD.accelerator.digest
        host.check(BOARD.accelerator)
        with pytest.raises(BoardError, match="must be the accelerator with digest 0123456789ab"):
            host.check("0123456789ab")
        sizes = (BOARD.memory_bytes, BOARD.program_bytes, bus_bytes(BOARD.accelerator), BOARD.clock_hz, BOARD.divisor)
        assert sizes == (
            identity.memory_bytes,
            identity.program_bytes,
            identity.bus_bytes,
            identity.clock_hz,
            identity.divisor,
        )
        assert (identity.idle_cycles, identity.command_version) == (BOARD.idle_cycles, VERSION)
        for case in CASES:
            run_case(host, case)
        host.reset()
        assert [host.read_register(name) for name in ("status", "program_length", "lr")] == [0, 0, 0]
        run_case(host, CASES[0])
        assert host.repeated == 0

    await bridge(session)()
    assert line.broken == 0


@cocotb.test()
async def a_bad_line(dut: Any):
    """Bytes changed, lost and added, both ways: everything is sent until it was right, and no program runs twice."""
    line = await started(dut, BOARD.clock_hz, BOARD.divisor)

    def session() -> None:
        port = Disturbed(line)
        host = Host(port, timeout=TIMEOUT, quiet=2 * IDLE, attempts=12)
        data = bytes(random.Random(SEED).randbytes(BOARD.memory_bytes))
        host.write_memory(0, data)
        host.write_memory(701, b"odd places")
        assert host.read_memory(0, BOARD.memory_bytes) == data[:701] + b"odd places" + data[711:]
        run_case(host, CASES[0])
        assert min(port.disturbed, host.repeated) > 5

    await bridge(session)()


@cocotb.test()
async def bad_requests(dut: Any):
    """Each is answered with its status, and changes nothing."""
    line = await started(dut, BOARD.clock_hz, BOARD.divisor)
    before = bytes(random.Random(SEED).randbytes(64))

    def answer(sent: bytes, count: int = 4) -> tuple[int, int]:
        """Status and tag."""
        line.write(sent)
        found = line.read(count, TIMEOUT)
        assert len(found) == count, found
        assert line.read(1, 2 * IDLE) == b""
        assert checksum(found) == 0
        return found[0], found[1]

    def session() -> None:
        host = driver(line)
        host.write_memory(0, before)
        size, registers, info = BOARD.memory_bytes, Space.REGISTERS.base, Space.INFO.base
        word = b"\x01\0\0\0"
        for space, end in ((Space.TENSORS, size), (Space.PROGRAM, BOARD.program_bytes)):
            for address, words in ((end, 1), (1, 1), (2, 2), (1 << 29, 1), (end + 1024, 256)):
                assert answer(request(Opcode.READ, 7, space.base + address, words)) == (Status.ADDRESS, 7)
                assert answer(request(Opcode.WRITE, 8, space.base + address, words, word * words)) == (Status.ADDRESS, 8)
        for address, status in (
            (registers + REGISTERS["start"].address, Status.REFUSED),
            (registers + 0x1000, Status.ADDRESS),
            (info + 32, Status.ADDRESS),
        ):
            assert answer(request(Opcode.READ, 1, address, 1)) == (status, 1)
        beyond = max(register.address + register.bits // 8 for register in REGISTERS.values())
        for address, status in (
            (registers + REGISTERS["status"].address, Status.REFUSED),
            (registers + beyond, Status.REFUSED),
            (info + WORD_BYTES * Info.MAGIC, Status.REFUSED),
        ):
            assert answer(request(Opcode.WRITE, 2, address, 1, word)) == (status, 2)
        assert answer(request(Opcode.READ, 1, registers, 2)) == (Status.ADDRESS, 1)
        assert answer(request(0x53, 3, 0, 1)) == (Status.OPCODE, 3)

        # A wrong checksum: of the request, of data for a register, of data for memory.
        good = request(Opcode.WRITE, 4, 0, 2, bytes(8))
        assert answer(good[:4] + b"\x10" + good[5:])[0] == Status.CHECKSUM
        assert host.read_memory(0, 64) == before
        start = request(Opcode.WRITE, 5, registers + REGISTERS["program_length"].address, 1, word)
        assert answer(start[:-1] + bytes([start[-1] ^ 1])) == (Status.CHECKSUM, 5)
        assert host.read_register("program_length") == 0
        assert answer(good[:-1] + bytes([good[-1] ^ 0x80])) == (Status.CHECKSUM, 4)
        host.write_memory(0, before[:8])

        # Garbage, and requests that end early, are forgotten in silence; then the next one is understood.
        for garbage in (b"\x52", good[:9], good[:13], good[:-1]):
            line.write(garbage)
            assert line.read(1, 2 * IDLE) == b""
            host.write_memory(0, before[:8])
            assert host.read_memory(0, 64) == before
        # Requests that come before the silence are not heard.
        line.write(bytes(9) + request(Opcode.WRITE, 6, 0, 1, word))
        assert line.read(16, 2 * IDLE)[0] == Status.CHECKSUM
        assert host.read_memory(0, 64) == before
        with pytest.raises(ValueError, match="must lie within"):
            host.read_memory(size - 1, 2)
        assert host.repeated == 0

    await bridge(session)()
    # A byte whose stop bit is low is lost.
    sent = request(Opcode.READ, 9, 0, 1)
    await line.send(sent[:3])
    await line.send(sent[3:4], stop=0)
    answer_to_a_part = await line.receive(4, TIMEOUT)  # whose tag had not come to its place
    assert (answer_to_a_part[0], checksum(answer_to_a_part)) == (Status.CHECKSUM, 0)


@cocotb.test()
async def faults(dut: Any):
    """A command that is none, one whose tensor lies outside of the memory, a program outside of its own: the lights, too."""
    line = await started(dut, BOARD.clock_hz, BOARD.divisor)

    def lights() -> tuple[int, int]:
        return int(dut.busy.value), int(dut.fault.value)

    def session() -> None:
        host = driver(line)
        host.load(bytes([13]) + bytes(COMMAND_BYTES - 1))
        ran = host.run(timeout=60)
        assert (ran.fault, ran.fault_command) == (Fault.OPCODE, 0)
        run_case(host, CASES[0])
        data = bytearray(CASES[0].data)
        stores = [at for at in range(0, len(data), COMMAND_BYTES) if data[at] & 15 in (Command.STORE_C, Command.STORE_WORK)]
        loads = [at for at in range(0, len(data), COMMAND_BYTES) if data[at] & 15 in (Command.LOAD_A, Command.LOAD_WORK)]
        for places, fault in ((stores, Fault.MEMORY_WRITE), (loads, Fault.MEMORY_READ)):
            wrong = data.copy()
            wrong[places[0] + 33] ^= 0x80  # of the address, which begins behind 4 + 12 + 9 * 24 bits
            host.load(bytes(wrong), CASES[0].image)
            assert host.run(timeout=60).fault == fault
        host.write_register("program_address", BOARD.program_bytes)
        assert host.run(timeout=60).fault == Fault.PROGRAM_READ
        host.reset()
        run_case(host, CASES[0])

    await bridge(session)()
    assert lights() == (0, 0)
