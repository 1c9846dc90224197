"""From an Amaranth component to Verilog text: the same bytes for the same component, in every process."""

# pyright: basic, reportAttributeAccessIssue=false

import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from rtl.shared import collecting
from rtl.yosys_shim import run_yosys

__all__ = ["STYLE", "check", "verilog_of"]

# What Verilator's -Wall says of Yosys' way of writing, and not of the circuit: operands of different widths are extended as
# Verilog does, cases have their default before them, constants of a general circuit are compared, bits may have no use.
STYLE = ("WIDTHEXPAND", "WIDTHTRUNC", "CASEINCOMPLETE", "CMPCONST", "UNSIGNED", "UNUSEDSIGNAL", "DECLFILENAME", "PROCASSINIT")
_ATTRIBUTES = "-remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding"


def verilog_of(component: wiring.Component, name: str) -> str:
    """Verilog of a component as module `name`, its submodules after it as ``name.submodule``.

    Ports are the members of the signature, nested ones joined by two underscores (``operands__valid``), and `clk` and
    `rst` where the component has a register. The text depends on the component and the versions of Amaranth and Yosys
    only, so that a hash of it names a build. Memories have no initial contents: nothing may be read before it is written.
    Raises ValueError for a name that a port has too: Verilator refuses that.
    """
    if name in component.signature.members:
        raise ValueError(
            f"Module name {name!r} must differ from its ports {sorted(component.signature.members)}, not equal one"
        )
    with collecting(name) as collected:
        text = rtlil.convert(component, name=name, emit_src=False)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "design.il").write_text(text)
        (Path(folder) / "shared.il").write_text(collected.text)
        script = ["read_rtlil design.il", "read_rtlil shared.il", "delete t:$meminit t:$meminit_v2"]
        script += ["proc -nomux -norom", "memory_collect"]
        script += [f"attrmap {_ATTRIBUTES}", f"attrmap -modattr {_ATTRIBUTES}", "write_verilog -norename design.v"]
        run_yosys("\n".join(script), cwd=Path(folder))
        emitted = (Path(folder) / "design.v").read_text()
    body = emitted.partition("*/\n")[2]  # Yosys' banner
    style = "".join(f"/* verilator lint_off {warning} */\n" for warning in STYLE)
    return f"/* {name}: generated from the component in rtl/, do not edit */\n{style}{body}"


def check(verilog: str, top: str) -> None:
    """Raise YosysError where the text has a latch, a combinational loop, or a net with no driver or with several."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "design.v").write_text(verilog)
        script = ["read_verilog design.v", f"hierarchy -check -top {top}", "proc", "flatten", "check -assert"]
        script += ["select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr"]
        run_yosys("\n".join(script), cwd=Path(folder))
