"""The other end of a serial line in a cocotb bench: a `rtl.host.Port` whose bytes pass the simulated pins, bit by bit."""

import math
from typing import Any

from cocotb.clock import Clock
from cocotb.task import resume
from cocotb.triggers import ClockCycles, Event, FallingEdge, First, RisingEdge, Timer
from cocotb.utils import get_sim_time

__all__ = ["SerialLine", "started"]


class SerialLine:
    """`bit_ps`: picoseconds of a bit that is sent; `read_ps`: of one that is received, if different.

    Starts to listen at once. `write` and `read` block, for host drivers that run in `cocotb.task.bridge`; `send` and `receive`
    are the same for coroutines. Times are simulated ones.
    """

    def __init__(self, rx: Any, tx: Any, bit_ps: int, *, read_ps: int | None = None) -> None:
        import cocotb

        self.rx, self.tx, self.bit_ps, self.read_ps = rx, tx, bit_ps, read_ps or bit_ps
        self.received, self.broken = bytearray(), 0  # `broken`: bytes whose stop bit was low
        self._come = Event()
        rx.value = 1
        cocotb.start_soon(self._listen())

    async def send(self, data: bytes, *, stop: int = 1) -> None:
        """Bytes, without a pause between them."""
        for byte in data:
            for bit in (0, *(byte >> place & 1 for place in range(8)), stop):
                self.rx.value = bit
                await Timer(self.bit_ps, unit="ps")
        self.rx.value = 1

    async def receive(self, count: int, timeout: float) -> bytes:
        """As `rtl.host.Port.read`."""
        end = get_sim_time("ps") + math.ceil(timeout * 1e12)
        while len(self.received) < count and (left := end - get_sim_time("ps")) > 0:
            self._come.clear()
            await First(self._come.wait(), Timer(round(left), unit="ps"))
        found = bytes(self.received[:count])
        del self.received[:count]
        return found

    def write(self, data: bytes) -> None:
        resume(self.send)(data)

    def read(self, count: int, timeout: float) -> bytes:
        return resume(self.receive)(count, timeout)

    async def _listen(self) -> None:
        while True:
            await FallingEdge(self.tx)
            await Timer(self.read_ps * 3 // 2, unit="ps")
            byte = 0
            for place in range(8):
                byte |= int(self.tx.value) << place
                await Timer(self.read_ps, unit="ps")
            if int(self.tx.value):
                self.received.append(byte)
                self._come.set()
            else:
                self.broken += 1


async def started(dut: Any, clock_hz: int, divisor: int) -> SerialLine:
    """The clock runs, the reset was high for two cycles, and the line of `divisor` cycles a bit is silent."""
    import cocotb

    period = round(1e12 / clock_hz)
    line = SerialLine(dut.rx, dut.tx, divisor * period)
    cocotb.start_soon(Clock(dut.clk, period, unit="ps").start())
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    return line
