"""The host of a machine on a board: loads programs and tensors, starts runs, and reads what came of them.

    with SerialPort("/dev/ttyUSB1", 1_000_000) as port:
        host = Host(port)
        host.check(accelerator)
        host.load(program, memory)
        ran = host.run(timeout=10)
        after = host.read_memory(0, len(memory))

It needs numpy and, for `SerialPort`, pyserial; none of the packages that make RTL.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtl.host_port import BoardError, Port, SerialPort
from rtl.link import Link
from rtl.protocol import MAGIC, MEMORY_PAGE, WORD_BYTES, Info, Opcode, Space
from simulator.arch import Accelerator
from simulator.encoding import COMMAND_BYTES, Fault
from simulator.register_map import COUNTERS, REGISTERS
from simulator.result import Counters

__all__ = ["BoardError", "Host", "Identity", "Port", "Progress", "Ran", "SerialPort"]

Progress = Callable[[int, int], None]  # bytes done, bytes in all
_BUSY, _DONE, _RESET = 1, 2, 1
_IDLE_MARGIN = 1.5  # how much longer than the board's own silence the host's is


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a board says of itself."""

    digest: str  # of its accelerator
    command_version: int  # of the binary programs that it runs
    memory_bytes: int
    program_bytes: int
    bus_bytes: int
    clock_hz: int
    divisor: int  # clock cycles of a bit on the line
    idle_cycles: int  # of silence, after which it forgets a request that was begun

    @property
    def baud(self) -> float:
        return self.clock_hz / self.divisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What the machine's registers say after a run."""

    cycles: int
    counters: Counters
    fault: Fault
    fault_command: int  # position of the command that was refused, or that would have been next


class Host:
    """A board behind `port`. `timeout`: seconds to wait for an answer; `quiet`: seconds of silence after an error, before the
    board has said how much it needs; `attempts`: how often a request is sent before the line is given up.

    Raises BoardError where the board doesn't answer or refuses, ValueError for what can't be asked of any board.
    """

    def __init__(self, port: Port, *, timeout: float = 1.0, quiet: float = 0.5, attempts: int = 4) -> None:
        self._link = Link(port, timeout=timeout, quiet=quiet, attempts=attempts)
        self._identity: Identity | None = None

    @property
    def repeated(self) -> int:
        """Requests that were sent again because bytes were changed or lost."""
        return self._link.repeated

    def identify(self) -> Identity:
        """Ask the board what it is. Raises BoardError for one that speaks another protocol."""
        if (magic := self._info(Info.MAGIC)) != MAGIC:
            raise BoardError(f"Board must speak protocol {MAGIC:#x}, not {magic:#x}: use the driver that its design came with")
        found = Identity(
            digest=f"{self.read_register('digest'):012x}",
            command_version=self.read_register("version"),
            memory_bytes=self._info(Info.MEMORY_BYTES),
            program_bytes=self._info(Info.PROGRAM_BYTES),
            bus_bytes=self._info(Info.BUS_BYTES),
            clock_hz=self._info(Info.CLOCK_HZ),
            divisor=self._info(Info.DIVISOR),
            idle_cycles=self._info(Info.IDLE_CYCLES),
        )
        self._link.byte_seconds = 10 / found.baud
        self._link.quiet = _IDLE_MARGIN * found.idle_cycles / found.clock_hz
        self._identity = found
        return found

    @property
    def identity(self) -> Identity:
        """What `identify` returned, asked for when it is first needed."""
        return self._identity or self.identify()

    def check(self, accelerator: Accelerator | str) -> None:
        """Raise BoardError unless the board is that accelerator, or the one of that digest."""
        wanted = accelerator if isinstance(accelerator, str) else accelerator.digest
        if self.identity.digest != wanted:
            raise BoardError(
                f"Board must be the accelerator with digest {wanted}, not {self.identity.digest}: configure it with the design "
                "made from this accelerator, or compile the program for the one that it is"
            )

    def reset(self) -> None:
        """Stop the machine, whatever it does, and clear its registers; the memories keep what they hold."""
        self._link.ask(Opcode.WRITE, _info_address(Info.CONTROL), 1, _word(_RESET))

    @property
    def busy(self) -> bool:
        """Does a program run?"""
        return bool(self._info(Info.CONTROL) & 1)

    def read_register(self, name: str) -> int:
        """A register of the machine, by its name in `REGISTERS`."""
        register = _register(name, "read", "write")
        words = [self._link.ask(Opcode.READ, Space.REGISTERS.base + address, 1) for address in _words(register.address, name)]
        return int.from_bytes(b"".join(words), "little")

    def write_register(self, name: str, value: float) -> None:
        """Integers as they are; a float becomes FP32, as coefficients are."""
        register = _register(name, "write", "start")
        number = int(np.float32(value).view(np.uint32)) if isinstance(value, float) else value
        if not 0 <= number < 1 << register.bits:
            raise ValueError(f"Register {name!r} must be written with {register.bits} bits, not {value!r}")
        data, before = number.to_bytes(register.bits // 8, "little"), self._writes() if register.access == "start" else 0
        for place, address in enumerate(_words(register.address, name)):
            self._link.ask(
                Opcode.WRITE,
                Space.REGISTERS.base + address,
                1,
                data[WORD_BYTES * place :][:WORD_BYTES],
                happened=(lambda: self._writes() != before) if register.access == "start" else None,
            )

    def read_memory(self, address: int, count: int, *, progress: Progress | None = None) -> bytes:
        """Bytes of the tensor memory."""
        return self._read(Space.TENSORS, address, count, progress)

    def write_memory(self, address: int, data: bytes, *, progress: Progress | None = None) -> None:
        """Into the tensor memory."""
        self._write(Space.TENSORS, address, data, progress)

    def read_program(self, address: int, count: int, *, progress: Progress | None = None) -> bytes:
        """Bytes of the program memory."""
        return self._read(Space.PROGRAM, address, count, progress)

    def write_program(self, address: int, data: bytes, *, progress: Progress | None = None) -> None:
        """Into the program memory."""
        self._write(Space.PROGRAM, address, data, progress)

    def load(self, program: bytes, memory: NDArray[np.uint8] | None = None, *, progress: Progress | None = None) -> None:
        """Put a program (as `simulator.encoding.encode` makes it) and the tensors' bytes at the start of their memories, and
        tell the machine where the program is. Without `memory` the tensors stay."""
        if not program or len(program) % COMMAND_BYTES:
            raise ValueError(f"Program must be whole commands of {COMMAND_BYTES} bytes, not {len(program)} bytes")
        data = b"" if memory is None else memory.tobytes()
        total = len(program) + len(data)
        self._check_range(Space.TENSORS, 0, len(data))
        self._write(Space.PROGRAM, 0, program, progress and (lambda done, _: progress(done, total)))
        self._write(Space.TENSORS, 0, data, progress and (lambda done, _: progress(len(program) + done, total)))
        self.write_register("program_address", 0)
        self.write_register("program_length", len(program) // COMMAND_BYTES)

    def run(self, timeout: float) -> Ran:
        """Run the program that is loaded, with the coefficients in the registers, and wait until it ends, by a fault too.

        Raises TimeoutError when it takes longer than `timeout` seconds: it still runs then, until `reset`.
        """
        if self.busy:
            raise BoardError("Machine must be idle before a run: wait, or stop it with Host.reset()")
        self.write_register("start", 1)
        end = time.monotonic() + timeout
        while not self.read_register("status") & _DONE:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"Program must end within {timeout} s: wait for status {_DONE}, or stop it with Host.reset()"
                )
        return self.result()

    def result(self) -> Ran:
        """Of the last run, once it has ended."""
        return Ran(
            cycles=self.read_register("cycles"),
            counters=Counters(**{name: self.read_register(name) for name in COUNTERS}),
            fault=Fault(self.read_register("fault")),
            fault_command=self.read_register("fault_command"),
        )

    def _info(self, word: Info) -> int:
        return int.from_bytes(self._link.ask(Opcode.READ, _info_address(word), 1), "little")

    def _writes(self) -> int:
        """Writes of registers that the board has done, modulo 2."""
        return self._info(Info.CONTROL) >> 1 & 1

    def _check_range(self, space: Space, address: int, count: int) -> None:
        size = self.identity.memory_bytes if space is Space.TENSORS else self.identity.program_bytes
        if address < 0 or count < 0 or address + count > size:
            name = "Tensor" if space is Space.TENSORS else "Program"
            raise ValueError(f"{name} memory has {size} bytes: bytes {address} to {address + count} must lie within them")

    def _read(self, space: Space, address: int, count: int, progress: Progress | None) -> bytes:
        self._check_range(space, address, count)
        first, end = address // WORD_BYTES * WORD_BYTES, address + count
        found = bytearray()
        while first + len(found) < end:
            here = first + len(found)
            size = min(MEMORY_PAGE - here % MEMORY_PAGE, -(-(end - here) // WORD_BYTES) * WORD_BYTES)
            found += self._link.ask(Opcode.READ, space.base + here, size // WORD_BYTES)
            if progress:
                progress(min(first + len(found), end) - address, count)
        return bytes(found[address - first :][:count])

    def _write(self, space: Space, address: int, data: bytes, progress: Progress | None) -> None:
        self._check_range(space, address, len(data))
        before, after = address % WORD_BYTES, -(address + len(data)) % WORD_BYTES  # bytes of words that stay as they are
        whole = data
        if data and before:
            whole = self._read(space, address - before, before, None) + whole
        if data and after:
            whole += self._read(space, address + len(data), after, None)
        done, first = 0, address - before
        while done < len(whole):
            here = first + done
            part = whole[done : done + MEMORY_PAGE - here % MEMORY_PAGE]
            self._link.ask(Opcode.WRITE, space.base + here, len(part) // WORD_BYTES, part)
            done += len(part)
            if progress:
                progress(min(done - before, len(data)), len(data))


def _word(value: int) -> bytes:
    return value.to_bytes(WORD_BYTES, "little")


def _info_address(word: Info) -> int:
    return Space.INFO.base + WORD_BYTES * word


def _register(name: str, *access: str):
    if name not in REGISTERS or REGISTERS[name].access not in access:
        raise ValueError(
            f"Register {name!r} must be one of {', '.join(each for each, known in REGISTERS.items() if known.access in access)}"
        )
    return REGISTERS[name]


def _words(address: int, name: str) -> range:
    return range(address, address + REGISTERS[name].bits // 8, WORD_BYTES)
