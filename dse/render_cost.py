"""What a run costs, in the terminal: cells and clock by FPGA family, energy by technology."""

from rich.console import Console

from dse.evaluate import Run
from dse.figures import joules, share, si
from dse.pricing import areas
from simulator.cost.devices import DEVICES
from simulator.cost.energy import energy
from simulator.cost.technology import tables

__all__ = ["print_cost"]


def print_cost(console: Console, run: Run) -> None:
    """Cells and clock by FPGA family, energy by technology; how far to trust either is in docs/cost.md and docs/energy.md."""
    accelerator, device = run.point.accelerator, run.point.fit
    for technology, found in areas(accelerator).items():
        limits = DEVICES[device].limits.as_dict() if device and DEVICES[device].technology == technology else {}
        cells = [
            f"{si(count)} {name.upper()}" + (f" ({share(count, limits[name])})" if limits.get(name) else "")
            for name, count in found.total.as_dict().items()
        ]
        clock = f", {found.fmax_hz / 1e6:.0f} MHz \N{PLUS-MINUS SIGN} {found.fmax_spread:.0%}" if found.fmax_hz else ""
        beyond = f"  [yellow]beyond what was calibrated: {len(found.notes)} settings[/]" if found.notes else ""
        console.print(f"[bold]area[/] {technology:<11} {', '.join(cells)}{clock}{beyond}", highlight=False)
    lacking: dict[str, list[str]] = {}
    for technology in tables().technologies:
        spent = energy(run.actions, run.result.cycles, accelerator, technology)
        largest = sorted(spent.pj.items(), key=lambda item: -item[1])[:3]
        parts = ", ".join(f"{group.replace('_', ' ')} {share(pj, sum(spent.pj.values()))}" for group, pj in largest if pj)
        unknown = [*(["static power"] if spent.static_w is None else []), *spent.unpriced]
        for what in unknown:
            lacking.setdefault(what, []).append(technology)
        least = "at least " if unknown else ""
        console.print(
            f"[bold]energy[/] {technology:<9} {least}{joules(spent.joules_per(run.point.batch))} an image: {parts}",
            highlight=False,
        )
    if lacking:
        missing = "; ".join(f"{what.replace('_', ' ')} ({', '.join(where)})" for what, where in lacking.items())
        console.print(f"[dim]at least: not known, and counted as 0: {missing}; docs/energy.md[/]", highlight=False)
