# amaranth: UnusedElaboratable=no
"""What stands around a machine or an array on a board: serial line, the bridge behind it, a reset by the host, and lights."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from rtl.bridge import Bridge
from rtl.uart import Receiver, Transmitter
from simulator.layout import power_of_two

__all__ = ["SHELL_PORTS", "Shell"]

SHELL_PORTS = {"rx": In(1), "tx": Out(1, init=1), "busy": Out(1), "fault": Out(1), "heartbeat": Out(1)}


class Shell:
    """The parts of a top with `SHELL_PORTS`, which adds them to its module: `reset`, `line`, and at the end `lights`.

    `divisor` clock cycles a bit; sizes of the two memories as `rtl.bridge` shows them. `idle_cycles` of silence, a power of two
    (about a quarter of a second unless given), make the bridge forget a request that was begun. Raises ValueError.
    """

    def __init__(
        self,
        top: wiring.Component,
        *,
        memory_bytes: int,
        program_bytes: int,
        bus_bytes: int,
        divisor: int,
        clock_hz: int,
        idle_cycles: int | None,
    ) -> None:
        self.top, self.clock_hz = top, clock_hz
        least = power_of_two(40 * divisor)  # four bytes
        self.idle_cycles = max(power_of_two(clock_hz // 4), least) if idle_cycles is None else idle_cycles
        if type(self.idle_cycles) is not int or self.idle_cycles < least or self.idle_cycles & (self.idle_cycles - 1):
            thing = type(top).__name__
            raise ValueError(f"{thing} field 'idle_cycles' must be a power of two, at least {least}, not {idle_cycles!r}")
        self.receiver, self.transmitter = Receiver(divisor), Transmitter(divisor)
        self.bridge = Bridge(
            memory_bytes=memory_bytes,
            program_bytes=program_bytes,
            bus_bytes=bus_bytes,
            clock_hz=clock_hz,
            idle_cycles=self.idle_cycles,
            divisor=divisor,
        )

    def reset(self, m: Module, name: str) -> None:
        """A clock domain `machine` that the host resets, too: from a register `name`, one cycle after the rest."""
        m.domains.machine = ClockDomain("machine")
        register = Signal(init=1, name=name)
        m.d.sync += register.eq(self.bridge.reset)
        m.d.comb += [ClockSignal("machine").eq(ClockSignal()), ResetSignal("machine").eq(register)]

    def line(self, m: Module) -> None:
        """From the pins to the bridge and back."""
        m.submodules.receiver, m.submodules.transmitter, m.submodules.bridge = self.receiver, self.transmitter, self.bridge
        connect(m, self.receiver.bytes, self.bridge.received)
        connect(m, self.bridge.sent, self.transmitter.bytes)

    def lights(self, m: Module, busy: Value) -> None:
        """The bridge's clock, and what the top shows."""
        top, bridge = self.top, self.bridge
        tick_bit = self.idle_cycles.bit_length() - 3  # it rises every half of the idle cycles
        # The highest bit changes about twice a second.
        beats = Signal(max(self.clock_hz.bit_length(), tick_bit + 1), name="beats")
        before = Signal(name="before")
        m.d.sync += [beats.eq(beats + 1), before.eq(beats[tick_bit])]
        m.d.comb += [
            self.receiver.rx.eq(top.rx),
            bridge.lost.eq(self.receiver.error),
            top.tx.eq(self.transmitter.tx),
            bridge.busy.eq(busy),
            bridge.tick.eq(beats[tick_bit] & ~before),
            top.busy.eq(busy),
            top.fault.eq(bridge.stopped),
            top.heartbeat.eq(beats[-1]),
        ]
