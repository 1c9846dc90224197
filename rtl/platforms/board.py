"""What a board is to a build: a chip, a clock, a serial line, and a few lights."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.build import Platform
from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.hdl import Elaboratable as Circuit

from rtl.fpga.place import Chip

__all__ = ["Board", "BoardTop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """`platform` makes Amaranth's description of the board, which knows the pins; `lights` are resource, number and field of
    outputs that show busy, fault and a heartbeat."""

    name: str
    about: str
    device: str  # a key of simulator.cost.devices.DEVICES
    platform: Callable[[], Platform]
    chip: Chip
    clock: str  # resource of the oscillator
    clock_hz: int
    lights: tuple[tuple[str, int, str], ...]
    program: str  # how a person loads a bitstream; {} stands for the file
    memory_bytes: int  # tensors and programs on the chip, unless the build says otherwise
    program_bytes: int
    wide_program: bool  # block memory is wide enough for a command per cycle
    part: str = "machine"  # what has room: the whole "machine", or the "array" alone


class BoardTop(Circuit):
    """The board's pins around a system that stands in Verilog of its own, as module `system`; `pll` if there is one."""

    def __init__(self, board: Board, system: str, *, pll: bool) -> None:
        self.board, self.system, self.pll = board, system, pll

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        board = self.board
        m.domains.sync = ClockDomain("sync")
        oscillator = platform.request(board.clock, 0).i
        clock, locked = Signal(), Signal()
        if self.pll:
            m.submodules.pll = Instance("pll", i_clock_in=oscillator, o_clock_out=clock, o_locked=locked)
            m.d.comb += ClockSignal().eq(clock)
        else:
            m.d.comb += [ClockSignal().eq(oscillator), locked.eq(1)]
        # Reset for the first cycles after the clock is there: a shift register that begins at 0.
        m.domains.start = ClockDomain("start", reset_less=True)
        m.d.comb += ClockSignal("start").eq(ClockSignal())
        started = Signal(4)
        m.d.start += started.eq((started << 1 | locked)[:4])
        m.d.comb += ResetSignal().eq(~started[-1])
        serial = platform.request("uart", 0)
        shown = [Signal(name=name) for name in ("busy", "fault", "heartbeat")]
        m.submodules.system = Instance(
            self.system,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_rx=serial.rx.i,
            o_tx=serial.tx.o,
            **{f"o_{signal.name}": signal for signal in shown},
        )
        places = dict.fromkeys((resource, number) for resource, number, _ in board.lights)  # three may be one light's colours
        lights = {place: platform.request(*place) for place in places}
        for (resource, number, field), signal in zip(board.lights, shown, strict=False):
            pin = lights[resource, number]
            m.d.comb += (getattr(pin, field) if field == "o" else getattr(pin, field).o).eq(signal)
        for other in ("rts", "dtr"):  # a modem's lines that a UART on USB may have
            if hasattr(serial, other) and hasattr(getattr(serial, other), "o"):
                m.d.comb += getattr(serial, other).o.eq(Const(0))
        return m
