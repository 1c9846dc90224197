# amaranth: UnusedElaboratable=no
"""The array alone for a small FPGA: its rows' and columns' operands in memories that the host fills, its results in others.

The host does the banking (docs/machine.md) and the padding, so that no operand passes a crossbar: it writes every bank's words
as they are read, and the command; starts it, and reads the results where the array left them. `rtl.tile_map` says where they
are, `rtl.tile_host` does it. `System` has the same ports.

What the array asks for must lie within a word of a bank: a dense group at a multiple of its size, a beat of `lanes` kept
values at a multiple of the lanes. With one lane that is every command; with more, `keep` must be a multiple of them. One slot
of each buffer is built, and no command adds to earlier sums.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from amaranth.hdl import Cat, Const, DomainRenamer, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring

from rtl.array import Array
from rtl.array_ports import command_layout, place_bits
from rtl.block_ram import block_ram
from rtl.choose import choose
from rtl.pe import product_cycles
from rtl.pipeline import wire
from rtl.protocol import WORD_BYTES
from rtl.shell import SHELL_PORTS, Shell
from rtl.tile_map import COMMAND_FORMAT, START, TileMap
from simulator.arch import Accelerator, Dataflow
from simulator.layout import result_places
from simulator.register_map import REGISTERS

__all__ = ["Tile"]

_WORD = 8 * WORD_BYTES
_OKAY, _REFUSED = 0, 2  # AXI4-Lite responses
_CYCLE_BITS = 32


class Tile(wiring.Component):
    """`divisor` clock cycles a bit; `clock_hz` is the board's clock, if not the accelerator's; `idle_cycles` as `System`'s.

    Raises ValueError for an accelerator whose array the RTL doesn't build.
    """

    def __init__(
        self, accelerator: Accelerator, *, divisor: int, clock_hz: int | None = None, idle_cycles: int | None = None
    ) -> None:
        self.accelerator, self.map = accelerator, TileMap(accelerator)
        self.array = Array(accelerator)
        self.shell = Shell(
            self,
            memory_bytes=self.map.operand_bytes,
            program_bytes=self.map.result_bytes,
            bus_bytes=WORD_BYTES,
            divisor=divisor,
            clock_hz=clock_hz or accelerator.clock_hz,
            idle_cycles=idle_cycles,
        )
        super().__init__(SHELL_PORTS)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        array = self.array
        self.shell.reset(m, "array_reset")
        m.submodules.array = DomainRenamer("machine")(array)
        self.shell.line(m)

        self._operands(m)
        self._results(m)
        start, starting = self._command(m), Signal()
        busy, done, cycles = Signal(), Signal(), Signal(_CYCLE_BITS)
        accepted = wire(m, "accepted", array.commands.valid & array.commands.ready)
        m.d.comb += [array.en.eq(1), array.commands.valid.eq(starting)]
        with m.If(start & ~busy):
            m.d.machine += [starting.eq(1), busy.eq(1), done.eq(0)]
        with m.If(accepted):
            m.d.machine += [starting.eq(0), cycles.eq(0)]
        with m.Elif(array.done):
            m.d.machine += [busy.eq(0), done.eq(1)]
        with m.Elif(busy):
            m.d.machine += cycles.eq(cycles + 1)
        self._registers(m, Cat(busy, done), cycles)

        self.shell.lights(m, busy)
        return m

    def _operands(self, m: Module) -> None:
        """A bank for each row and each column, written by the host."""
        host, array, bits = self.shell.bridge.tensors, self.array, self.map.word_bits
        m.d.comb += [host.ready.eq(1), host.answered.eq(1)]  # what is read is 0
        ports = [(array.row_request[r], array.row_data[r]) for r in range(self.accelerator.array.rows)]
        ports += [(array.column_request[c], array.column_data[c]) for c in range(self.accelerator.array.cols)]
        for bank, (request, answer) in enumerate(ports):
            name, words = f"bank_{bank}", self.map.entries(bank) // self.map.width
            low = (self.map.width - 1).bit_length()
            entry = wire(m, f"{name}_entry", request.entry)
            shown: list[Value] = []
            for part, size in enumerate(self.map.parts):
                m.submodules[f"{name}_{part}"] = block = block_ram(size, words)
                write, read = block.write_port(), block.read_port()
                m.d.comb += [
                    write.en.eq(self._written(bank, part)),
                    write.addr.eq(host.address[:bits]),
                    write.data.eq(host.write_data),
                    read.addr.eq(entry[low:]),
                ]
                shown.append(read.data)
            place = Signal(max(1, low), name=f"{name}_place", reset_less=True)
            m.d.sync += place.eq(entry[:low])
            split = self.map.value_parts
            self._answer(m, name, answer, Cat(shown[:split]), Cat(shown[split:]), place)

    def _written(self, bank: int, part: int) -> Value:
        """Does the host write to this part of a bank, or (behind the banks) to the command?"""
        host, bits = self.shell.bridge.tensors, self.map.word_bits
        region = host.address[bits + self.map.part_bits :]
        return host.valid & host.write & (region == bank) & (host.address[bits : bits + self.map.part_bits] == part)

    def _answer(self, m: Module, name: str, answer: Value, values: Value, indices: Value, place: Value) -> None:
        """Entries from the word's `place` on: the first from anywhere, the others of `lanes` at multiples of them, entry i
        behind them only where a group has more than i and so begins at a multiple of a power of two above i."""
        pe = self.accelerator.pe
        each = range(self.map.width)
        value = [values.word_select(i, pe.number.operand_bits) for i in each]
        index = [indices.word_select(i, self.map.index_bits) for i in each]
        for i in each:
            low = 0 if i == 0 else (pe.lanes - 1).bit_length() if i < pe.lanes else i.bit_length()
            first = i % (1 << low)
            m.d.comb += answer.values[i].eq(choose(m, f"{name}_value_{i}", value[first :: 1 << low], place[low:]))
            if i < pe.lanes:
                m.d.comb += answer.index[i].eq(choose(m, f"{name}_index_{i}", index[first :: 1 << low], place[low:]))

    def _results(self, m: Module) -> None:
        """A bank for each column, written by the array; read by it while it is busy, by the host otherwise."""
        host, array, accelerator = self.shell.bridge.program, self.array, self.accelerator
        m.d.comb += [host.ready.eq(1), host.answered.eq(1)]
        places, bits = place_bits(accelerator) if result_places(accelerator) > 1 else 0, self.map.sum_bits
        resident = set(accelerator.array.dataflows) != {Dataflow.OS}
        shown: list[Value] = []
        for bank in range(accelerator.array.cols):
            at_once, shape = resident and not product_cycles(accelerator.pe), array.sums_data.shape().elem_shape
            block = memory.Memory(shape=shape, depth=self.map.sums, init=[]) if at_once else block_ram(shape, self.map.sums)
            m.submodules[f"sums_{bank}"] = block
            result, request, write = array.results[bank], array.sums_request[bank], block.write_port()
            read = block.read_port(transparent_for=(write,) if at_once else ())
            asked = Cat(request.place[:places], request.word)
            m.d.comb += [
                write.en.eq(result.valid),
                write.addr.eq(Cat(result.place[:places], result.word)),
                write.data.eq(result.sum),
                read.addr.eq(Mux(self.busy, asked, host.address[:bits]) if resident else host.address[:bits]),
                array.sums_data[bank].eq(read.data),
            ]
            shown.append(read.data)
        m.d.comb += host.read_data.eq(choose(m, "result", shown, host.address[bits:]))

    def _command(self, m: Module) -> Value:
        """The command's bits; returns whether the host starts it."""
        fields, host = Signal(self.map.command_bits), self.shell.bridge.tensors
        for word in range(-(-len(fields) // _WORD)):
            with m.If(self._written(self.map.banks, 0) & (host.address[: self.map.word_bits] == word)):
                part = fields[word * _WORD : (word + 1) * _WORD]
                m.d.machine += part.eq(host.write_data)
        command, at = self.array.commands.payload, 0
        for name, bits in self.map.command.items():
            m.d.comb += command[name].eq(fields[at : at + bits])
            at += bits
        assert {*self.map.command} <= {*command_layout(self.accelerator).members}
        lite = self.shell.bridge.registers
        return wire(m, "start", lite.awvalid & lite.awready & lite.wdata[0] & self._is_start())

    def _is_start(self) -> Value:
        return self.shell.bridge.registers.awaddr[2:] == REGISTERS[START].address // 4

    def _registers(self, m: Module, status: Value, cycles: Value) -> None:
        """The bridge's AXI4-Lite slave: one access at a time; what isn't there is refused."""
        lite = self.shell.bridge.registers
        values: dict[str, Value] = {
            "digest": Const(int(self.accelerator.digest, 16), 64),
            "version": Const(COMMAND_FORMAT, _WORD),
            "status": status,
            "cycles": Cat(cycles, Const(0, _CYCLE_BITS)),
        }
        takes = wire(m, "register_written", lite.awvalid & lite.wvalid & ~lite.bvalid)
        m.d.comb += [lite.awready.eq(takes), lite.wready.eq(takes), lite.arready.eq(~lite.rvalid)]
        with m.If(lite.bready):
            m.d.sync += lite.bvalid.eq(0)
        with m.If(lite.rready):
            m.d.sync += lite.rvalid.eq(0)
        with m.If(takes):
            m.d.sync += [lite.bvalid.eq(1), lite.bresp.eq(Mux(self._is_start(), _OKAY, _REFUSED))]
        with m.If(lite.arvalid & lite.arready):
            m.d.sync += [lite.rvalid.eq(1), lite.rresp.eq(_REFUSED), lite.rdata.eq(0)]
            with m.Switch(lite.araddr[2:]):
                for name, value in values.items():
                    for word in range(REGISTERS[name].bits // _WORD):
                        with m.Case(REGISTERS[name].address // 4 + word):
                            m.d.sync += [lite.rdata.eq(value[word * _WORD : (word + 1) * _WORD]), lite.rresp.eq(_OKAY)]
