"""Ready accelerators, each field with its provenance: sourced, derived from a source, or assumed."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulator.arch import (
    Accelerator,
    Array,
    Buffer,
    Dataflow,
    Dram,
    Pe,
    Pruner,
    Sequencer,
    Updater,
    VectorUnit,
    leaf_fields,
)

__all__ = ["PRESETS", "Preset", "Provenance"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a field's value comes from. `kind` is "sourced" or "assumed"; `note` names the source or gives the reason."""

    kind: str
    note: str


def _sourced(note: str) -> Provenance:
    return Provenance("sourced", note)


def _assumed(note: str) -> Provenance:
    return Provenance("assumed", note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """An accelerator, one sentence on what it stands for, and the provenance of every leaf field but the name."""

    accelerator: Accelerator
    about: str
    provenance: Mapping[str, Provenance]

    def __post_init__(self) -> None:
        fields = set(leaf_fields(self.accelerator)) - {"name"}
        if missing := fields ^ set(self.provenance):
            raise ValueError(
                f"Preset {self.accelerator.name!r} must give the provenance of each field once, not of {sorted(missing)}"
            )

    @property
    def sourced(self) -> int:
        return sum(item.kind == "sourced" for item in self.provenance.values())


_SORE = "reading note of doi:10.1109/TCAD.2023.3317789: 32 lanes, M cycles per N:M group"
_STRUCTURE = "reading note of doi:10.1109/TCAD.2023.3317789"
_RECALL = "the paper's full text was not available"

_MACHINE = {  # what no source gives for any of them: the same modelling assumptions everywhere
    "pe.registers": _assumed("room for a whole group of the widest pattern, so that every dataflow takes it"),
    "pe.interleave": _assumed("as many accumulators as hide the accumulate latency"),
    "array.double_buffered": _assumed("usual in systolic arrays: the next operands load while one fold streams"),
    "a_buffer.slots": _assumed("double buffering"),
    "b_buffer.slots": _assumed("double buffering"),
    "c_buffer.slots": _assumed("double buffering"),
    "work_buffer.slots": _assumed("double buffering"),
    "work_buffer.banks": _assumed("wide enough for the vector unit, the updater and the pruner at full rate"),
    "work_buffer.bank_bits": _assumed("wide enough for the vector unit, the updater and the pruner at full rate"),
    "pruner.latency": _assumed("one cycle to compare, one to pack"),
    "updater.latency": _assumed("four chained FP32 operations of four cycles"),
    "updater.optimizers": _assumed("SGD with momentum, the optimizer of image classification; Adam costs a divider and a root"),
    "vector.latency": _assumed("two chained FP32 operations of four cycles"),
    "dram.latency_ns": _assumed("order of magnitude of a loaded memory controller"),
    "dram.outstanding": _assumed("enough bursts in flight to cover the latency at peak rate"),
    "sequencer.dispatch_cycles": _assumed("one command per cycle"),
    "sequencer.queue_depth": _assumed("commands are tiles: a few suffice to decouple the engines"),
    "sequencer.token_latency": _assumed("one register"),
    "implicit_im2col": _assumed(
        "address generation on chip; no source says that SAT or its like expand feature maps in memory"
    ),
}

_SAT = Preset(
    accelerator=Accelerator(
        name="sat-vcu1525",
        clock_hz=200_000_000,
        pe=Pe(format="fp16", group=16, lanes=1, registers=16, multiply_latency=2, accumulate_latency=4, interleave=4),
        array=Array(rows=32, cols=32, dataflows=(Dataflow.OS, Dataflow.WS), double_buffered=True),
        a_buffer=Buffer(bytes=2 * 2**20, banks=64, bank_bits=128),
        b_buffer=Buffer(bytes=2 * 2**20, banks=64, bank_bits=128),
        c_buffer=Buffer(bytes=4 * 2**20, banks=32, bank_bits=64),
        work_buffer=Buffer(bytes=2**20, banks=32, bank_bits=128),
        pruner=Pruner(lanes=32, latency=2),
        updater=Updater(lanes=32, latency=16),
        vector=VectorUnit(lanes=32, latency=8),
        dram=Dram(bytes_per_second=19_200_000_000, latency_ns=100, burst_bytes=128, outstanding=64),
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=32, token_latency=1),
    ),
    about="SAT of arXiv:2309.13015 on a Xilinx VCU1525: 32x32 value-serial N:M PEs, FP16 x FP16 + FP32",
    provenance=MappingProxyType(
        _MACHINE
        | {
            "clock_hz": _assumed(f"200 MHz: {_RECALL}"),
            "pe.format": _sourced(f"{_STRUCTURE}: FP16 until the weight update; FP32 accumulation is assumed"),
            "pe.group": _assumed("the widest ratio that the paper is said to evaluate, 2:16"),
            "pe.lanes": _assumed(f"value-serial: one multiplier per PE, N cycles per group; {_RECALL}"),
            "pe.multiply_latency": _assumed("pipeline depth of a half-precision multiplier at 200 MHz"),
            "pe.accumulate_latency": _assumed(f"a few cycles for an FP32 adder at 200 MHz; {_RECALL}"),
            "array.rows": _sourced(f"32 SORE lanes ({_STRUCTURE}) agree with a 32x32 array; the size itself is recalled"),
            "array.cols": _sourced(f"32 SORE lanes ({_STRUCTURE}) agree with a 32x32 array; the size itself is recalled"),
            "array.dataflows": _sourced(f"{_STRUCTURE}: the interconnect switches between OS and WS"),
            "a_buffer.bytes": _assumed("a part of the XCVU9P's 2,160 block RAMs and 960 UltraRAMs (43 MB together)"),
            "a_buffer.banks": _assumed("a group of 16 FP16 values per row and cycle: never the bottleneck up to M/N = 16"),
            "a_buffer.bank_bits": _assumed("see banks"),
            "b_buffer.bytes": _assumed("a part of the XCVU9P's 2,160 block RAMs and 960 UltraRAMs (43 MB together)"),
            "b_buffer.banks": _assumed("a group of 16 FP16 values per column and cycle"),
            "b_buffer.bank_bits": _assumed("see banks"),
            "c_buffer.bytes": _assumed("a part of the XCVU9P's 2,160 block RAMs and 960 UltraRAMs (43 MB together)"),
            "c_buffer.banks": _assumed("a bank per column"),
            "c_buffer.bank_bits": _assumed("two FP32 partial sums"),
            "work_buffer.bytes": _assumed("a part of the XCVU9P's 2,160 block RAMs and 960 UltraRAMs (43 MB together)"),
            "pruner.lanes": _sourced(_SORE),
            "updater.lanes": _assumed(f"as many as SORE has; {_RECALL}"),
            "vector.lanes": _assumed("as many as the updater; no source says where normalisation and activations run"),
            "dram.bytes_per_second": _assumed(
                "one of the board's four DDR4-2400 channels, 19.2 GB/s; how many SAT uses is unknown"
            ),
            "dram.burst_bytes": _assumed("one beat of a 1,024-bit bus at 200 MHz; two BL8 bursts of a 64-bit DDR4 channel"),
        }
    ),
)

_OWN_FIELDS = (
    "clock_hz",
    "pe.format",
    "pe.group",
    "pe.lanes",
    "pe.multiply_latency",
    "pe.accumulate_latency",
    "array.rows",
    "array.cols",
    "array.dataflows",
    "a_buffer.bytes",
    "a_buffer.banks",
    "a_buffer.bank_bits",
    "b_buffer.bytes",
    "b_buffer.banks",
    "b_buffer.bank_bits",
    "c_buffer.bytes",
    "c_buffer.banks",
    "c_buffer.bank_bits",
    "work_buffer.bytes",
    "pruner.lanes",
    "updater.lanes",
    "vector.lanes",
    "dram.bytes_per_second",
    "dram.burst_bytes",
)


def _own_design(*more: str) -> dict[str, Provenance]:
    """Of a machine that models no product: everything is assumed."""
    note = _assumed("this project's own design: a starting point, not a model of a product")
    return _MACHINE | dict.fromkeys((*_OWN_FIELDS, *more), note)


_EDGE = Preset(
    accelerator=Accelerator(
        name="edge-int8",
        clock_hz=100_000_000,
        pe=Pe(format="int8", group=8, lanes=1, registers=8, multiply_latency=1, accumulate_latency=1, interleave=1),
        array=Array(rows=8, cols=8, dataflows=(Dataflow.OS, Dataflow.WS, Dataflow.IS), double_buffered=True),
        a_buffer=Buffer(bytes=64 * 2**10, banks=8, bank_bits=64),
        b_buffer=Buffer(bytes=64 * 2**10, banks=8, bank_bits=64),
        c_buffer=Buffer(bytes=64 * 2**10, banks=8, bank_bits=32),
        work_buffer=Buffer(bytes=32 * 2**10, banks=8, bank_bits=32),
        pruner=Pruner(lanes=8, latency=2),
        updater=Updater(lanes=4, latency=16),
        vector=VectorUnit(lanes=8, latency=8),
        dram=Dram(bytes_per_second=400_000_000, latency_ns=150, burst_bytes=32, outstanding=8),
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=8, token_latency=1),
    ),
    about="a small INT8 array for a low-cost FPGA with one 16-bit SDRAM",
    provenance=MappingProxyType(_own_design()),
)

# On-chip memory of a board build answers 8 cycles after a request, the least that the DMA takes, with 4 bytes a cycle.
_ON_CHIP_MEMORY = Dram(bytes_per_second=100_000_000, latency_ns=320, burst_bytes=16, outstanding=8)
_BOARD_INT8 = Preset(
    accelerator=Accelerator(
        name="board-int8",
        clock_hz=25_000_000,
        pe=Pe(format="int8", group=8, lanes=1, registers=8, multiply_latency=2, accumulate_latency=1, interleave=1),
        array=Array(rows=4, cols=4, dataflows=(Dataflow.OS, Dataflow.WS), double_buffered=True),
        a_buffer=Buffer(bytes=8 * 2**10, banks=4, bank_bits=64),
        b_buffer=Buffer(bytes=8 * 2**10, banks=4, bank_bits=64),
        c_buffer=Buffer(bytes=8 * 2**10, banks=4, bank_bits=32),
        work_buffer=Buffer(bytes=8 * 2**10, banks=4, bank_bits=32),
        pruner=Pruner(lanes=1, latency=2),
        updater=Updater(lanes=0, latency=16),
        vector=VectorUnit(lanes=1, latency=8),
        dram=_ON_CHIP_MEMORY,
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=4, token_latency=1),
    ),
    about="a small INT8 machine with on-chip memory, for `dse build` on an ECP5 board",
    provenance=MappingProxyType(_own_design("dram.latency_ns", "dram.outstanding", "sequencer.queue_depth")),
)
_BOARD_FP16 = Preset(
    accelerator=Accelerator(
        name="board-fp16",
        clock_hz=25_000_000,
        pe=Pe(format="fp16", group=8, lanes=1, registers=8, multiply_latency=4, accumulate_latency=5, interleave=8),
        array=Array(rows=2, cols=2, dataflows=(Dataflow.OS, Dataflow.WS), double_buffered=True),
        a_buffer=Buffer(bytes=8 * 2**10, banks=2, bank_bits=128),
        b_buffer=Buffer(bytes=8 * 2**10, banks=2, bank_bits=128),
        c_buffer=Buffer(bytes=8 * 2**10, banks=2, bank_bits=32),
        work_buffer=Buffer(bytes=16 * 2**10, banks=4, bank_bits=32),
        pruner=Pruner(lanes=1, latency=2),
        updater=Updater(lanes=1, latency=24),
        vector=VectorUnit(lanes=1, latency=12),
        dram=_ON_CHIP_MEMORY,
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=4, token_latency=1),
    ),
    about="a small FP16 machine that trains, with on-chip memory, for `dse build` on an ECP5 board",
    provenance=MappingProxyType(_own_design("dram.latency_ns", "dram.outstanding", "sequencer.queue_depth")),
)

_TILE_BUFFER = Buffer(bytes=2 * 2**10, banks=8, bank_bits=128, slots=1)
_TILE = Preset(
    accelerator=Accelerator(
        name="tile-int8",
        clock_hz=12_000_000,
        pe=Pe(format="int8", group=4, lanes=1, registers=4, multiply_latency=1, accumulate_latency=1, interleave=1),
        array=Array(rows=2, cols=2, dataflows=(Dataflow.OS,), double_buffered=True),
        a_buffer=_TILE_BUFFER,
        b_buffer=_TILE_BUFFER,
        c_buffer=_TILE_BUFFER,
        work_buffer=Buffer(bytes=64, banks=1, bank_bits=32),
        pruner=Pruner(lanes=0, latency=2),
        updater=Updater(lanes=0, latency=16),
        vector=VectorUnit(lanes=0, latency=8),
        dram=Dram(bytes_per_second=12_000_000, latency_ns=1000, burst_bytes=16, outstanding=4),
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=2, token_latency=1),
    ),
    about="a 2x2 INT8 array without engines around it, for `dse build` on an iCE40 or Gowin board",
    provenance=MappingProxyType(_own_design("dram.latency_ns", "dram.outstanding", "sequencer.queue_depth")),
)

_TPU_PAPER = "arXiv:1704.04760"
_TPU = Preset(
    accelerator=Accelerator(
        name="tpu-like",
        clock_hz=700_000_000,
        pe=Pe(format="bf16", group=1, lanes=1, registers=1, multiply_latency=1, accumulate_latency=1, interleave=1),
        array=Array(rows=128, cols=128, dataflows=(Dataflow.WS,), double_buffered=True),
        a_buffer=Buffer(bytes=8 * 2**20, banks=128, bank_bits=16),
        b_buffer=Buffer(bytes=8 * 2**20, banks=128, bank_bits=16),
        c_buffer=Buffer(bytes=8 * 2**20, banks=128, bank_bits=32),
        work_buffer=Buffer(bytes=4 * 2**20, banks=128, bank_bits=32),
        pruner=Pruner(lanes=1, latency=2),
        updater=Updater(lanes=128, latency=16),
        vector=VectorUnit(lanes=1024, latency=8),
        dram=Dram(bytes_per_second=300_000_000_000, latency_ns=400, burst_bytes=64, outstanding=4096),
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=32, token_latency=1),
    ),
    about="a dense weight-stationary array in the manner of a TPU core: 128x128 BF16, no N:M",
    provenance=MappingProxyType(
        _MACHINE
        | {
            "clock_hz": _sourced("700 MHz: TPU v2/v3 overview, doi:10.1145/3360307"),
            "pe.format": _sourced("BF16 products, FP32 accumulation: doi:10.1145/3360307"),
            "pe.group": _sourced(f"no sparsity support: {_TPU_PAPER}"),
            "pe.lanes": _sourced(f"one multiply-accumulate per PE: {_TPU_PAPER}"),
            "pe.multiply_latency": _assumed("not published"),
            "pe.accumulate_latency": _assumed("one hop per cycle, as in the published pipeline picture"),
            "array.rows": _sourced("128x128 matrix unit: doi:10.1145/3360307"),
            "array.cols": _sourced("128x128 matrix unit: doi:10.1145/3360307"),
            "array.dataflows": _sourced(f"weight stationary: {_TPU_PAPER}"),
            "a_buffer.bytes": _assumed("share of an on-chip vector memory of some 16-32 MB"),
            "a_buffer.banks": _assumed("one operand per row and cycle"),
            "a_buffer.bank_bits": _assumed("one BF16 operand"),
            "b_buffer.bytes": _assumed("share of an on-chip vector memory of some 16-32 MB"),
            "b_buffer.banks": _assumed("one operand per column and cycle"),
            "b_buffer.bank_bits": _assumed("one BF16 operand"),
            "c_buffer.bytes": _assumed("share of an on-chip vector memory of some 16-32 MB"),
            "c_buffer.banks": _assumed("one partial sum per column and cycle"),
            "c_buffer.bank_bits": _assumed("one FP32 partial sum"),
            "work_buffer.bytes": _assumed("share of an on-chip vector memory of some 16-32 MB"),
            "pruner.lanes": _assumed("has none; one idle lane keeps the description whole"),
            "updater.lanes": _assumed("one per column"),
            "vector.lanes": _sourced("128 lanes x 8 sublanes: doi:10.1145/3360307"),
            "dram.bytes_per_second": _assumed("half of a chip's 600-700 GB/s of HBM for one of its two cores"),
            "dram.burst_bytes": _assumed("HBM2 pseudo-channel burst, two of 32 bytes"),
            "dram.outstanding": _assumed("enough bursts in flight to cover the latency at peak rate"),
        }
    ),
)

_A100_SOURCE = "NVIDIA A100 whitepaper; arXiv:2104.08378"
_A100 = Preset(
    accelerator=Accelerator(
        name="a100-like-sm",
        clock_hz=1_410_000_000,
        pe=Pe(format="fp16", group=4, lanes=2, registers=4, multiply_latency=2, accumulate_latency=4, interleave=4),
        array=Array(rows=16, cols=32, dataflows=(Dataflow.OS, Dataflow.WS), double_buffered=True),
        a_buffer=Buffer(bytes=64 * 2**10, banks=32, bank_bits=64),
        b_buffer=Buffer(bytes=64 * 2**10, banks=32, bank_bits=64),
        c_buffer=Buffer(bytes=256 * 2**10, banks=32, bank_bits=32),
        work_buffer=Buffer(bytes=64 * 2**10, banks=32, bank_bits=32),
        pruner=Pruner(lanes=32, latency=2),
        updater=Updater(lanes=64, latency=16),
        vector=VectorUnit(lanes=64, latency=8),
        dram=Dram(bytes_per_second=14_400_000_000, latency_ns=500, burst_bytes=64, outstanding=512),
        sequencer=Sequencer(dispatch_cycles=1, queue_depth=32, token_latency=1),
    ),
    about="one streaming multiprocessor's worth of A100-like 2:4 sparse tensor cores: 1,024 FP16 multipliers",
    provenance=MappingProxyType(
        _MACHINE
        | {
            "clock_hz": _sourced(f"1,410 MHz boost: {_A100_SOURCE}"),
            "pe.format": _sourced(f"FP16 with FP32 accumulation: {_A100_SOURCE}"),
            "pe.group": _sourced(f"2:4, 2-bit indices select among four operands: {_A100_SOURCE}"),
            "pe.lanes": _assumed("two multipliers behind one selector: a 2:4 group in one beat, a dense group in two"),
            "pe.multiply_latency": _assumed("not published"),
            "pe.accumulate_latency": _assumed("not published"),
            "array.rows": _assumed("arranged so that rows x cols x lanes are the 1,024 FP16 multipliers of one multiprocessor"),
            "array.cols": _assumed("see rows"),
            "array.dataflows": _assumed("a tensor core is a dot-product unit: both are approximations of it"),
            "a_buffer.bytes": _assumed("share of 192 KB of L1 and shared memory"),
            "a_buffer.banks": _sourced(f"32 banks of shared memory: {_A100_SOURCE}"),
            "a_buffer.bank_bits": _assumed("operand reuse in registers makes the banks look wider"),
            "b_buffer.bytes": _assumed("share of 192 KB of L1 and shared memory"),
            "b_buffer.banks": _sourced(f"32 banks of shared memory: {_A100_SOURCE}"),
            "b_buffer.bank_bits": _assumed("operand reuse in registers makes the banks look wider"),
            "c_buffer.bytes": _sourced(f"256 KB register file: {_A100_SOURCE}"),
            "c_buffer.banks": _assumed("a bank per column"),
            "c_buffer.bank_bits": _assumed("one FP32 partial sum"),
            "work_buffer.bytes": _assumed("share of 192 KB of L1 and shared memory"),
            "pruner.lanes": _assumed("pruning in software at the rate of the vector lanes"),
            "updater.lanes": _sourced(f"64 FP32 lanes: {_A100_SOURCE}"),
            "vector.lanes": _sourced(f"64 FP32 lanes: {_A100_SOURCE}"),
            "dram.bytes_per_second": _sourced(f"1,555 GB/s over 108 multiprocessors: {_A100_SOURCE}"),
            "dram.burst_bytes": _assumed("HBM2 pseudo-channel burst, two of 32 bytes"),
        }
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {p.accelerator.name: p for p in (_SAT, _EDGE, _BOARD_INT8, _BOARD_FP16, _TILE, _TPU, _A100)}
)
