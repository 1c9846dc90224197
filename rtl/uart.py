"""A serial line: 8 data bits, no parity, one stop bit, least significant bit first; the line is high when nothing is sent.

`divisor` is the clock cycles of a bit. The receiver looks at each bit once, in its middle; what it saw of the line is two
cycles old (a synchroniser: the line knows nothing of our clock).
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LEAST_DIVISOR", "Receiver", "Transmitter", "check_divisor"]

LEAST_DIVISOR = 4  # fewer cycles of a bit leave the receiver no middle to look at
DATA_BITS = 8


def check_divisor(divisor: int) -> None:
    """Raise ValueError for a divisor that the line can't have."""
    if type(divisor) is not int or divisor < LEAST_DIVISOR:
        raise ValueError(f"Uart field 'divisor' must be at least {LEAST_DIVISOR} clock cycles of a bit, not {divisor!r}")


def synchronised(m: Module, line: Value) -> Signal:
    """The line, high after reset, as this clock may use it."""
    first, second = Signal(init=1, name="line_first"), Signal(init=1, name="line_second")
    m.d.sync += [first.eq(line), second.eq(first)]
    return second


class Receiver(wiring.Component):
    """`bytes` come from the line `rx`. `error` is high for a cycle where a byte is lost: its stop bit was low (a wrong rate, a
    broken line), or the one before it had not been taken when it was complete (then the older one stays).

    A start bit that is high again in its middle is none. After a low stop bit nothing is received until the line is high.
    """

    def __init__(self, divisor: int) -> None:
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1), "bytes": Out(stream.Signature(DATA_BITS)), "error": Out(1)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        line = synchronised(m, self.rx)
        timer = Signal(range(self.divisor))  # cycles until the next look
        samples = Signal(range(DATA_BITS + 2))  # looks to come after the next one: the start bit has 9, the stop bit 0
        shift = Signal(DATA_BITS)
        m.d.sync += self.error.eq(0)
        with m.If(self.bytes.valid & self.bytes.ready):
            m.d.sync += self.bytes.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self.divisor // 2 - 1), samples.eq(DATA_BITS + 1)]
                with m.If(~line):
                    m.next = "BITS"
            with m.State("BITS"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(self.divisor - 1), samples.eq(samples - 1)]
                    with m.If(samples == DATA_BITS + 1), m.If(line):
                        m.next = "IDLE"
                    with m.Elif(samples != 0):
                        m.d.sync += shift.eq(Cat(shift[1:], line))
                    with m.Else():  # a sender that is faster may begin the next byte in the very next cycle
                        m.next = "BREAK"
                        with m.If(line):
                            m.next = "IDLE"
                        with m.If(line & (~self.bytes.valid | self.bytes.ready)):
                            m.d.sync += [self.bytes.valid.eq(1), self.bytes.payload.eq(shift)]
                        with m.Else():
                            m.d.sync += self.error.eq(1)
            with m.State("BREAK"), m.If(line):
                m.next = "IDLE"
        return m


class Transmitter(wiring.Component):
    """`bytes` go to the line `tx`, as soon as the byte before is complete."""

    def __init__(self, divisor: int) -> None:
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"bytes": In(stream.Signature(DATA_BITS)), "tx": Out(1, init=1)})  # pyright: ignore[reportCallIssue]

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        timer = Signal(range(self.divisor))  # cycles left of the bit on the line
        shift = Signal(DATA_BITS + 1)  # bits to come, the stop bit the highest of those that are set; 0: this bit is the last
        last = Signal()
        m.d.comb += last.eq((shift == 0) & (timer == 0))
        m.d.comb += self.bytes.ready.eq(last)
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(shift != 0):
            m.d.sync += [Cat(self.tx, shift).eq(Cat(shift, Const(0, 1))), timer.eq(self.divisor - 1)]
        with m.Elif(self.bytes.valid):
            m.d.sync += [self.tx.eq(0), shift.eq(Cat(self.bytes.payload, Const(1, 1))), timer.eq(self.divisor - 1)]
        return m
