"""Are chosen points right down to the RTL? `dse check` of their machines, as data."""

from collections.abc import Callable
from dataclasses import dataclass

from simulator.arch import Accelerator

__all__ = ["RtlCheck", "check_rtl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlCheck:
    """What running programs on a machine's RTL, simulator and golden model found: nothing that differs, if all is well."""

    digest: str
    runs: int
    cycles: int  # the RTL's, over all runs
    differences: tuple[str, ...]
    refused: tuple[str, ...]  # why programs were not run, each reason once
    error: str = ""  # why there is no RTL to run, if so

    @property
    def equal(self) -> bool:
        """Whether every byte, cycle, counter and event of all programs is the same."""
        return not self.differences and not self.error and self.runs > 0


def check_rtl(machine: Accelerator, *, seed: int = 0, report: Callable[[str], None] = lambda _: None) -> RtlCheck:
    """Generate a machine's RTL, check and compile it, and compare programs on it: minutes, most of them compiling; builds are
    kept in out/rtl. `report` is told what is under way.

    Raises ConfigError where what it takes is not installed.
    """
    from dse.rtl_extra import need_rtl

    need_rtl("dse sweep --confirm rtl", simulation=True)
    # Amaranth, Yosys and Verilator take longer to load than most commands to run.
    from dse.verify import verify
    from dse.verify_programs import Case, cases
    from rtl.emit import check, verilog_of
    from rtl.generate import module_name
    from rtl.native.machine import MachineModel
    from rtl.native.toolchain import lint
    from rtl.top import Machine
    from rtl.yosys_shim import YosysError

    module = module_name(machine)
    try:
        report("elaborate")
        verilog = verilog_of(Machine(machine), module)
        report("check the Verilog")
        check(verilog, module)
        lint(verilog, module)
        report("compile")
        model = MachineModel(verilog, module, machine)
    except (YosysError, RuntimeError, ValueError) as error:
        return RtlCheck(digest=machine.digest, runs=0, cycles=0, differences=(), refused=(), error=str(error))
    differences, refused, runs, cycles = list[str](), dict[str, None](), 0, 0
    for case in cases(machine, seed=seed, large=True):
        report(case.name)
        if not isinstance(case, Case):
            refused[case.reason] = None
            continue
        try:
            outcome = verify(model, case.data, case.image, case.registers)
        except RuntimeError as error:  # a view that came to no end: the RTL hangs, or the golden model refuses
            differences.append(f"{case.name}: {error}")
            continue
        differences += [f"{case.name}: {each}" for each in outcome.differences]
        runs, cycles = runs + 1, cycles + outcome.cycles
    return RtlCheck(digest=machine.digest, runs=runs, cycles=cycles, differences=tuple(differences), refused=tuple(refused))
