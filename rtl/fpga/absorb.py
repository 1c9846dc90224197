"""ECP5: flip-flops around a multiplier become its own registers, which Yosys leaves to the user.

A MULT18X18D has registers on each operand and two ranks behind the product. From fabric flip-flop to fabric flip-flop a
multiplication takes about 4 ns and two ways across the chip; with its own registers neither counts. A rank moves inside only
if every bit of it is a constant 0 or a plain flip-flop (no reset, initially 0) of one clock and one enable, which nothing else
reads or, behind the product, which is all that reads the product.
"""

from collections import Counter
from typing import Any

__all__ = ["absorb"]

_ZERO, _DONT_CARE = "0", "x"
_OPERANDS = {"A": 18, "B": 18}
_PRODUCT = 36
_RANKS = ("REG_OUTPUT", "REG_PIPELINE")


def absorb(module: dict[str, Any]) -> int:
    """Rewrite a module of Yosys' JSON; returns how many flip-flops went into multipliers."""
    return _Absorber(module).run()


class _Absorber:
    def __init__(self, module: dict[str, Any]) -> None:
        self.cells: dict[str, dict[str, Any]] = module["cells"]
        self.driver: dict[int, str] = {}  # by net: the flip-flop whose output it is
        self.data: dict[int, list[str]] = {}  # by net: the flip-flops whose input it is
        self.loads: Counter[int] = Counter()
        for port in module["ports"].values():
            if port["direction"] != "input":
                self.loads.update(bit for bit in port["bits"] if isinstance(bit, int))
        for name, cell in self.cells.items():
            directions = cell["port_directions"]
            for port, bits in cell["connections"].items():
                if directions[port] == "input":
                    self.loads.update(bit for bit in bits if isinstance(bit, int))
            if cell["type"] == "TRELLIS_FF":
                self.driver[cell["connections"]["Q"][0]] = name
                self.data.setdefault(_pin(cell, "DI"), []).append(name)

    def run(self) -> int:
        gone = 0
        for cell in [cell for cell in self.cells.values() if cell["type"] == "MULT18X18D"]:
            for operand, width in _OPERANDS.items():
                gone += self._operand(cell, operand, width)
            for rank in _RANKS:
                gone += self._product(cell, rank)
        return gone

    def _operand(self, multiplier: dict[str, Any], operand: str, width: int) -> int:
        pins = [f"{operand}{i}" for i in range(width)]
        nets = [multiplier["connections"][pin][0] for pin in pins]
        used = Counter(net for net in nets if isinstance(net, int))
        if not used or any(net not in self.driver for net in used) or "1" in nets:
            return 0
        found = {net: self.driver[net] for net in used}
        control = {self._control(name) for name in found.values()}
        if len(control) != 1 or None in control or any(self.loads[net] != count for net, count in used.items()):
            return 0
        if not self._clock(multiplier, f"REG_INPUT{operand}", control.pop()):
            return 0
        for pin, net in zip(pins, nets, strict=True):
            if isinstance(net, int):
                multiplier["connections"][pin] = [_pin(self.cells[found[net]], "DI")]
        for net, name in found.items():
            source = _pin(self.cells[name], "DI")
            self._remove(name)
            if isinstance(source, int):
                self.loads[source] += used[net]
        return len(found)

    def _product(self, multiplier: dict[str, Any], rank: str) -> int:
        """The output rank takes the flip-flops behind the product; the pipeline rank those behind these."""
        nets = {f"P{i}": multiplier["connections"][f"P{i}"][0] for i in range(_PRODUCT) if f"P{i}" in multiplier["connections"]}
        used = {pin: net for pin, net in nets.items() if isinstance(net, int) and self.loads[net]}
        if not used:
            return 0
        behind = {pin: self.data.get(net, []) for pin, net in used.items()}
        if any(len(names) != 1 or self.loads[used[pin]] != 1 for pin, names in behind.items()):
            return 0
        names = {pin: name for pin, (name,) in behind.items()}
        control = {self._control(name) for name in names.values()}
        if len(control) != 1 or None in control or not self._clock(multiplier, rank, control.pop()):
            return 0
        for pin, name in names.items():
            multiplier["connections"][pin] = self.cells[name]["connections"]["Q"]
            self._remove(name)
        return len(names)

    def _control(self, name: str) -> tuple[int | str, int | str] | None:
        """Clock and enable of a plain flip-flop; None for any other."""
        cell = self.cells[name]
        parameters, pins = cell["parameters"], cell["connections"]
        expected = {"REGSET": "RESET", "CLKMUX": "CLK", "LSRMUX": "LSR", "LSRMODE": "LSR"}
        plain = all(parameters.get(name, value) == value for name, value in expected.items())
        enables: dict[str, int | str] = {"1": "1", "CE": _pin(cell, "CE", "1")}
        enable = enables.get(parameters.get("CEMUX", "1").strip(), "x")  # Yosys writes "1 ", lest it be read as a number
        reset = pins.get("LSR", [_ZERO])[0]
        if not plain or reset not in (_ZERO, _DONT_CARE) or enable == "x":
            return None
        return pins["CLK"][0], enable

    def _clock(self, multiplier: dict[str, Any], rank: str, control: tuple[int | str, int | str] | None) -> bool:
        """Give the rank the multiplier's first clock and enable; False where these are another's already."""
        assert control is not None
        clock, enable = control
        pins, parameters = multiplier["connections"], multiplier["parameters"]
        for pin, net in (("CLK0", clock), ("CE0", enable)):
            if pins.get(pin, [net]) != [net]:
                return False
        for pin, net in (("CLK0", clock), ("CE0", enable), ("RST0", _ZERO)):
            pins[pin], multiplier["port_directions"][pin] = [net], "input"
        parameters |= {f"{rank}_CLK": "CLK0", f"{rank}_CE": "CE0", f"{rank}_RST": "RST0"}
        return True

    def _remove(self, name: str) -> None:
        cell = self.cells.pop(name)
        self.driver.pop(cell["connections"]["Q"][0], None)
        source = _pin(cell, "DI")
        if isinstance(source, int):
            self.loads[source] -= 1
            self.data[source].remove(name)


def _pin(cell: dict[str, Any], pin: str, default: int | str = _ZERO) -> Any:
    return cell["connections"].get(pin, [default])[0]
