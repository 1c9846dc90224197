# amaranth: UnusedElaboratable=no
"""From an accelerator to a folder that an FPGA flow can take: Verilog, file list, metadata, and a memory map for people."""

import json
import re
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rtl.emit import verilog_of
from rtl.top import Machine
from simulator.arch import Accelerator, leaf_fields
from simulator.encoding import COMMAND_BITS, FIELDS, HEADER, VERSION, Fault, Opcode
from simulator.layout import bus_bytes
from simulator.register_map import REGISTERS

__all__ = ["Generated", "generate", "module_name"]

METADATA = "metadata.json"
_VERILOG = re.compile(r"nmdse_[0-9a-f]{12}\.v")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What was written."""

    folder: Path
    module: str
    verilog_bytes: int
    files: tuple[str, ...]


def module_name(accelerator: Accelerator) -> str:
    """The top module's name: it says which hardware it is."""
    return f"nmdse_{accelerator.digest}"


def generate(accelerator: Accelerator, folder: Path) -> Generated:
    """Write the accelerator's RTL into `folder`, all of it or, after an error, nothing.

    An earlier result in the folder is replaced. Raises ValueError for an accelerator that the RTL doesn't build,
    FileExistsError for a folder that holds anything else, OSError where it can't be written.
    """
    held = {path.name for path in folder.iterdir()} if folder.exists() else set[str]()
    ours = {name for name in held if _VERILOG.fullmatch(name)}
    if others := sorted(held - ours - {"files.f", "memory_map.md", METADATA} if ours else held):
        raise FileExistsError(f"Folder {str(folder)!r} must be empty or hold an earlier result only, not {others[0]!r}")
    module = module_name(accelerator)
    machine = Machine(accelerator)
    verilog = verilog_of(machine, module)
    files = {
        f"{module}.v": verilog,
        "files.f": f"{module}.v\n",
        "memory_map.md": _memory_map(accelerator, module),
        METADATA: json.dumps(_metadata(accelerator, machine, module), indent=1) + "\n",
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as new:
        whole = Path(new) / "whole"
        whole.mkdir()
        for name, text in files.items():
            (whole / name).write_text(text, encoding="utf-8")
        if folder.exists():
            folder.rename(Path(new) / "earlier")
        whole.rename(folder)
    return Generated(folder=folder, module=module, verilog_bytes=len(verilog.encode()), files=tuple(files))


def _metadata(accelerator: Accelerator, machine: Machine, module: str) -> dict[str, object]:
    ports = {
        name: {"direction": "input" if str(member.flow) == "In" else "output", "bits": _bits(member.shape)}
        for name, member in machine.signature.members.items()
    }
    clocked = {"clk": {"direction": "input", "bits": 1}, "rst": {"direction": "input", "bits": 1}}
    return {
        "module": module,
        "digest": accelerator.digest,
        "name": accelerator.name,
        "generator": f"nmdse {version('nmdse')}, amaranth {version('amaranth')}, pyosys {version('pyosys')}",
        "accelerator": leaf_fields(accelerator),
        "clock_hz": accelerator.clock_hz,
        "ports": clocked | ports,
        "registers": {name: asdict(register) for name, register in REGISTERS.items()},
        "command": {
            "version": VERSION,
            "bits": COMMAND_BITS,
            "header": HEADER,
            "opcodes": {opcode.name: {"code": int(opcode), "fields": FIELDS[opcode]} for opcode in Opcode},
            "faults": {fault.name: int(fault) for fault in Fault},
        },
    }


def _bits(shape: object) -> int:
    from amaranth.hdl import Shape

    return Shape.cast(shape).width  # pyright: ignore[reportArgumentType]


def _memory_map(accelerator: Accelerator, module: str) -> str:
    lines = [
        f"# {module}",
        "",
        f"{accelerator.name}: {accelerator.array.rows} x {accelerator.array.cols} {accelerator.pe.format} PEs, digest "
        f"`{accelerator.digest}`, memory bus of {bus_bytes(accelerator)} bytes.",
        "",
        "Registers at `s_axi` (AXI4-Lite, 32-bit words; 64-bit registers low word first):",
        "",
        "| address | register | bits | access | meaning |",
        "|---|---|---|---|---|",
        *(f"| 0x{r.address:03x} | `{name}` | {r.bits} | {r.access} | {r.about} |" for name, r in REGISTERS.items()),
        "",
        "To run a program: put its commands and tensors into the memories, write `program_address` and `program_length`, write",
        "1 to `start`, wait for bit 1 of `status`. Bit 2: a command was refused; `fault` says why, `fault_command` which.",
        "",
        "| fault | code |",
        "|---|---|",
        *(f"| {fault.name} | {int(fault)} |" for fault in Fault),
        "",
    ]
    return "\n".join(lines)
