# amaranth: UnusedElaboratable=no
"""Is the updater `sgd_momentum`, or `adam`, bit for bit, `Updater.latency` cycles later, under stalls, gaps and resets?"""

import functools
import json
import re
import types
from pathlib import Path

import numpy as np
import pytest
from rtl_kit.planted import mutant
from rtl_kit.require import need_rtl

need_rtl()

from fp_oracle import Bits, stored_bits, values_of  # noqa: E402
from fp_vectors import accumulator_pairs, halfway_to_fp16, operand_pairs  # noqa: E402
from lanes_bench import Traffic, mismatch, traffic  # noqa: E402
from port_rows import as_array, as_integers  # noqa: E402
from rtl_kit import NativeModel, run_cocotb  # noqa: E402

import rtl.optimizer  # noqa: E402
import rtl.updater  # noqa: E402
from rtl.emit import check, verilog_of  # noqa: E402
from rtl.native.toolchain import ports_of  # noqa: E402
from rtl.optimizer import ADAM_COEFFICIENTS, COEFFICIENTS  # noqa: E402
from rtl.updater import UpdaterLane  # noqa: E402
from simulator.arch import Accelerator, Pe  # noqa: E402
from simulator.arch import Updater as Spec  # noqa: E402
from simulator.arithmetic import sgd_momentum  # noqa: E402
from simulator.formats import FORMATS  # noqa: E402
from simulator.optimizers import AdamCoefficients, adam, adam_coefficients  # noqa: E402

CONTROL = ("en", "rst", "valid_in")
SGD, ADAM, BOTH = ("sgd-momentum",), ("adam",), ("sgd-momentum", "adam")
# Training's; neutral; all ones (cancellation); overflow; underflow; special values; negative; none with SR-STE.
COEFFICIENT_SETS = [
    (0.1, 0.9, 5e-4, 2e-4),
    (0.0, 0.0, 0.0, 0.0),
    (1.0, 1.0, 1.0, 1.0),
    (1.0, 1.0, 0.0, 0.0),
    (3e38, 1.5, 2.0, 1e20),
    (1e-42, 1e-40, 3e-45, 1e-38),
    (np.inf, 0.9, 0.0, -0.0),
    (0.01, np.nan, 1e-4, np.inf),
    (-0.3, -0.9, -1e-3, -2.0),
    (0.05, 0.0, 0.0, 1.0),
]
ADAM_SETS = [
    adam_coefficients(1, weight_decay=5e-4, decay=2e-4),
    adam_coefficients(1000, decoupled_decay=1e-5),
    AdamCoefficients(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    AdamCoefficients(1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0),
    AdamCoefficients(-3e38, 2.0, -1.0, -1.0, 1.0, 1.0, -1.0, 3.0, 0.0),
    AdamCoefficients(1e-42, 1e-40, 3e-39, 1.0, 1e30, 1e-41, 1e-38, -1e-39, 0.5),
    AdamCoefficients(np.inf, 0.9, 0.1, 0.999, 0.001, np.nan, 0.0, np.inf, -0.0),
]


def machine(format_name: str, lanes: int, latency: int, optimizers: tuple[str, ...] = SGD) -> Accelerator:
    updater = Spec(lanes=lanes, latency=latency, optimizers=optimizers)
    return Accelerator(name="updater", pe=Pe(format=format_name), updater=updater)


class Bench:
    """An updater's Verilog as a native model that takes and gives elements, one row of `lanes` in each cycle."""

    def __init__(self, accelerator: Accelerator, module: types.ModuleType = rtl.updater) -> None:
        self.name, self.lanes, self.latency = accelerator.pe.format, accelerator.updater.lanes, accelerator.updater.latency
        self.verilog = verilog_of(module.Updater(accelerator), "updater")
        self.bits = {name: port.bits for name, port in ports_of(self.verilog, "updater").items()}
        state = ["weight", "velocity", "second"] if "adam" in accelerator.updater.optimizers else ["weight", "velocity"]
        self.element = [*state, "gradient", "keep"]
        self.static = [*COEFFICIENTS, *(ADAM_COEFFICIENTS if "second" in state else ())]
        if accelerator.updater.optimizers == BOTH:
            self.static.append("adam")
        outputs = ["valid_out", "copy", *(f"new_{name}" for name in state)]
        self.model = NativeModel(self.verilog, "updater", [*CONTROL, *self.static, *self.element], outputs)

    def ports(self, elements: dict[str, Bits]) -> dict[str, np.ndarray]:
        """Rows of array ports from elements; their number must be a multiple of the lanes."""
        return {name: self._packed(name, values) for name, values in elements.items() if name in self.bits}

    def _packed(self, name: str, values: Bits) -> np.ndarray:
        if self.lanes == 1:
            return values
        bits = self.bits[name] // self.lanes
        rows = values.reshape(-1, self.lanes).tolist()
        return as_array([sum(value << lane * bits for lane, value in enumerate(row)) for row in rows], self.bits[name])

    def wrong(self, elements: dict[str, Bits], numbers: tuple[float, ...], what: Traffic) -> str:
        """How the outputs differ from the golden function's; empty where they do not. Adam if the numbers are Adam's."""
        operands, want = self.ports(elements), self.ports(golden(self.name, elements, numbers))
        given = {name: operands[name] for name in self.element}
        static = {name: np.full(len(what.en), bits) for name, bits in static_bits(numbers).items() if name in self.bits}
        got = self.model.run({**given, **static, "en": what.en, "rst": what.rst, "valid_in": what.valid_in})
        return mismatch(what, got, want, given)


def static_bits(numbers: tuple[float, ...]) -> dict[str, np.unsignedinteger]:
    """Of all static ports that there can be; for SGD on a machine with Adam, Adam's are 1."""
    named = dict.fromkeys(ADAM_COEFFICIENTS, 1.0)
    if isinstance(numbers, AdamCoefficients):
        named |= numbers._asdict()
    else:
        named |= dict(zip(COEFFICIENTS, numbers, strict=True))
    with np.errstate(all="ignore"):
        bits = {name: np.float32(number).view(np.uint32) for name, number in named.items()}
    return bits | {"adam": np.uint8(isinstance(numbers, AdamCoefficients))}


def golden(format_name: str, elements: dict[str, Bits], numbers: tuple[float, ...]) -> dict[str, Bits]:
    """The golden function of bits; NaNs in the state are the canonical one."""
    number, mask = FORMATS[format_name], elements["keep"] == 1
    weight, velocity, second = (elements[name].view(np.float32) for name in ("weight", "velocity", "second"))
    gradient = values_of(format_name, elements["gradient"])
    if isinstance(numbers, AdamCoefficients):
        *state, copy = adam(weight, velocity, second, gradient, number, numbers, mask)
    else:
        named = dict(zip(COEFFICIENTS, numbers, strict=True))
        *state, copy = sgd_momentum(weight, velocity, gradient, number, mask=mask, **named)
    bits = [np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32)) for values in state]
    short = stored_bits(format_name, copy)
    return dict(zip(("new_weight", "new_velocity", "new_second"), bits, strict=False)) | {"copy": short}


def elements_of(format_name: str, count: int, seed: int) -> dict[str, Bits]:
    """`count` elements: training-like, boundaries, any bits, ties of the copy, and sums that cancel."""
    rng = np.random.default_rng(seed)
    part = count // 5
    usual = [rng.normal(0, scale, part).astype(np.float32).view(np.uint32) for scale in (0.05, 0.01)]
    special = [rng.choice(values, part) for values in accumulator_pairs("fp32", part, rng)]
    anything = [rng.integers(0, 1 << 32, part, dtype=np.uint32) for _ in range(2)]
    short = rng.integers(0, 1 << 16, part, dtype=np.uint16)
    ties = halfway_to_fp16() if format_name == "fp16" else special[0] & np.uint32(0xFFFF0000) | np.uint32(0x8000)
    opposite = rng.integers(0, 1 << 16, count - 4 * part, dtype=np.uint16)  # velocity = -gradient
    still = [rng.choice(np.array([0, 1 << sign], f"u{(sign + 1) // 8}"), part) for sign in (31, 15)]
    columns = {
        "weight": [
            usual[0],
            special[0],
            anything[0],
            rng.choice(ties, part),
            wide_bits(format_name, rng.permutation(opposite)),
        ],
        "velocity": [usual[1], special[1], anything[1], still[0], wide_bits(format_name, opposite) ^ np.uint32(1 << 31)],
        "gradient": [
            short_bits(format_name, rng.normal(0, 1e-3, part).astype(np.float32)),
            rng.choice(operand_pairs(format_name, part, rng)[0], part),
            short,
            still[1],
            opposite,
        ],
    }
    order = rng.permutation(count)
    mixed = {name: np.concatenate(parts)[order] for name, parts in columns.items()}
    small = np.square(rng.normal(0, 1e-3, count).astype(np.float32)).view(np.uint32)
    second = np.where(rng.random(count) < 0.8, small, rng.permutation(mixed["velocity"]))
    return mixed | {"second": second, "keep": rng.integers(0, 2, count, dtype=np.uint8)}


def short_bits(format_name: str, values: np.ndarray) -> Bits:
    bits = values.astype(np.float16).view(np.uint16) if format_name == "fp16" else values.view(np.uint32) >> np.uint32(16)
    return bits.astype(np.uint16)


def wide_bits(format_name: str, bits: Bits) -> Bits:
    with np.errstate(all="ignore"):
        return values_of(format_name, bits).astype(np.float32).view(np.uint32)


@functools.cache
def bench(format_name: str, lanes: int, latency: int, optimizers: tuple[str, ...] = SGD) -> Bench:
    return Bench(machine(format_name, lanes, latency, optimizers))


def values(format_name: str, latency: int, count: int, seed: int, optimizers: tuple[str, ...] = SGD) -> None:
    lane = bench(format_name, 1, latency, optimizers)
    sets = [*(COEFFICIENT_SETS if "sgd-momentum" in optimizers else ()), *(ADAM_SETS if "adam" in optimizers else ())]
    for index, numbers in enumerate(sets):
        elements = elements_of(format_name, count, seed + index)
        stall = 0.3 * (index % 2)
        assert not lane.wrong(elements, numbers, traffic(count, latency, seed + index, stall)), f"coefficients {numbers}"


@pytest.mark.parametrize(("format_name", "latency"), [("bf16", 2), ("fp16", 16), ("bf16", 40)])
def test_values(format_name: str, latency: int):
    """4 * 10^5 elements: every set of coefficients, half of them under stalls."""
    values(format_name, latency, 40_000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("latency", [1, 2, 5, 16, 39, 40, 41, 42, 64])
@pytest.mark.parametrize("format_name", ["fp16", "bf16"])
def test_many_values(format_name: str, latency: int):
    values(format_name, latency, 1_000_000, seed=100)


@pytest.mark.parametrize(("format_name", "latency", "optimizers"), [("fp16", 1, BOTH)])
def test_adam(format_name: str, latency: int, optimizers: tuple[str, ...]):
    """10^5 elements and more; where the machine has both, SGD too."""
    values(format_name, latency, 16_000, seed=2, optimizers=optimizers)


@pytest.mark.slow
@pytest.mark.parametrize("optimizers", [ADAM, BOTH])
@pytest.mark.parametrize(("format_name", "latency"), [("bf16", 1), ("bf16", 2), ("fp16", 16), ("bf16", 130), ("fp16", 140)])
def test_much_adam(format_name: str, latency: int, optimizers: tuple[str, ...]):
    values(format_name, latency, 300_000, seed=200, optimizers=optimizers)


def test_adam_is_the_papers():
    """Ten steps in float64 by algorithm 1 of arXiv:1412.6980 (2 of arXiv:1711.05101), bias corrections as they stand there."""
    rng = np.random.default_rng(0)
    beta1, beta2, lr, eps, decoupled = 0.9, 0.999, 1e-3, 1e-8, 1e-4
    start = rng.normal(0, 0.05, 1000).astype(np.float32)
    weight, first, second = start, np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    exact, m, v = start.astype(np.float64), np.zeros(1000), np.zeros(1000)
    for step in range(1, 11):
        gradient = rng.normal(0, 1e-3, 1000).astype(np.float16)
        numbers = adam_coefficients(step, lr=lr, beta1=beta1, beta2=beta2, eps=eps, decoupled_decay=decoupled)
        weight, first, second, copy = adam(weight, first, second, gradient, FORMATS["fp16"], numbers)
        g = gradient.astype(np.float64)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        corrected = m / (1 - beta1**step), v / (1 - beta2**step)
        exact = exact - (lr * corrected[0] / (np.sqrt(corrected[1]) + eps) + decoupled * exact)
    assert np.abs(exact - start).max() > 3e-3
    assert np.abs(weight - exact).max() < 1e-7
    assert (copy == weight.astype(np.float16)).all()
    with pytest.raises(ValueError, match="Step of Adam must be at least 1, not 0"):
        adam_coefficients(0)
    with pytest.raises(ValueError, match="Array 'first' must be float32, not float64"):
        adam(weight, m, second, gradient, FORMATS["fp16"], numbers)


@pytest.mark.parametrize("seed", range(4))
def test_stalls_gaps_and_resets(seed: int):
    """Two lanes; a reset in mid-stream takes back what is on the way, and nothing else."""
    two = bench("fp16", 2, 5)
    elements = elements_of("fp16", 8000, seed)
    what = traffic(4000, 5, seed, stall=0.2 * seed, gaps=0.3, resets=60)
    lost = np.flatnonzero((what.en & what.valid_in)[:-40]).size - len(np.unique(what.shown[what.shown >= 0]))
    assert lost > 60, "resets must have had something to take back"
    assert not two.wrong(elements, COEFFICIENT_SETS[0], what)


def test_cycles_of_the_table():
    """The table in rtl/updater.py is what the updater does."""
    rows = re.findall(r"^\| (\d+) +\| ([01]) +\| (.*?) +\| (.*?) *\|$", rtl.updater.__doc__ or "", re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(7))
    entered = {text: cycle for cycle, _, text, _ in rows if text.startswith("element")}
    left = {text: cycle for cycle, _, _, text in rows if text.startswith("element")}
    assert list(entered) == list(left)
    assert len(entered) == 3
    lane = bench("bf16", 1, 2)
    elements = elements_of("bf16", 50, 7)
    elements = {name: values[: len(rows)] for name, values in elements.items()}
    en = np.array([int(row[1]) for row in rows], np.uint8)
    valid = np.array([row[2].startswith("element") for row in rows], np.uint8)
    shown = np.array([int(entered.get(text, -1)) for *_, text in rows])
    assert not lane.wrong(elements, COEFFICIENT_SETS[0], Traffic(en, np.zeros_like(en), valid, shown))


def test_cocotb(tmp_path: Path):
    """A lane in a simulator that knows nothing of this project's native model: stalls, gaps and resets."""
    lane, cycles, numbers = bench("bf16", 1, 2), 2500, COEFFICIENT_SETS[0]
    elements = elements_of("bf16", cycles, 11)
    what = traffic(cycles, 2, 11, stall=0.3, gaps=0.2, resets=20)
    static = {name: [int(bits)] * cycles for name, bits in static_bits(numbers).items() if name in lane.bits}
    controls = {name: getattr(what, name).tolist() for name in CONTROL}
    want = {name: as_integers(array) for name, array in lane.ports(golden("bf16", elements, numbers)).items()}
    operands = {name: as_integers(array) for name, array in lane.ports(elements).items() if name in lane.element}
    file = tmp_path / "table.json"
    file.write_text(json.dumps({"inputs": {**controls, **static, **operands}, "want": want, "shown": what.shown.tolist()}))
    run_cocotb(lane.verilog, "updater", "lanes_bench", {"TABLE": str(file)})


@pytest.mark.parametrize(("format_name", "optimizers"), [("bf16", SGD), ("fp16", BOTH)])
def test_clean(format_name: str, optimizers: tuple[str, ...]):
    """No latch, loop or undriven net."""
    check(verilog_of(rtl.updater.Updater(machine(format_name, 1, 4, optimizers)), "updater"), "updater")


def test_bad_machines():
    with pytest.raises(ValueError, match="Updater of 'updater' must be for fp16 or bf16 gradients, not 'int8'"):
        rtl.updater.Updater(machine("int8", 1, 4))
    with pytest.raises(ValueError, match="UpdaterLane field 'number' must be one of fp16, bf16, not 'int8'"):
        UpdaterLane(FORMATS["int8"], 4)
    with pytest.raises(ValueError, match="UpdaterLane field 'latency' must be an integer of at least 1, not 0"):
        UpdaterLane(FORMATS["fp16"], 0)


# name: (file, optimizers, right text, wrong text)
FAULTS = {
    "none": ("updater", SGD, "self.spec.latency, self.spec", "self.spec.latency, self.spec"),
    "lanes share an operand": ("updater", SGD, "[index]) for name in self.ports.inputs", "[0]) for name in self.ports.inputs"),
    "a register too few": ("updater", SGD, "self.spec.latency, self.spec", "self.spec.latency - 1, self.spec"),
    "valid comes late": ("updater", SGD, "valid_in, self.spec.latency)", "valid_in, self.spec.latency + 1)"),
    "gradient ascent": ("optimizer", SGD, '_negative(c["lr"])', 'c["lr"]'),
    "mask inverted": ("optimizer", SGD, 'Mux(state["keep"]', 'Mux(~state["keep"]'),
    "old velocity": ("optimizer", SGD, '_product("change", "new_velocity"', '_product("change", "velocity"'),
    "decay of the velocity": ("optimizer", SGD, '"regrow", "weight"', '"regrow", "velocity"'),
    "copy of the old weight": ("optimizer", SGD, '{"value": "new_weight"}', '{"value": "weight"}'),
    "decays exchanged": ("optimizer", SGD, '"shrink", "weight", c["weight_decay"]', '"shrink", "weight", c["decay"]'),
    "none, adam": ("optimizer", ADAM, '"slope", "slope"', '"slope", "slope"'),
    "square of the gradient alone": ("optimizer", ADAM, '"slope", "slope"', '"wide", "wide"'),
    "root of the old moment": ("optimizer", ADAM, '{"value": "new_second"}', '{"value": "second"}'),
    "eps under the root": ("optimizer", ADAM, '_total("divisor", "root", c["eps"])', '_total("divisor", "root", "new_second")'),
    "decay times lr": ("optimizer", ADAM, '"loss", "weight"', '"loss", "step"'),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch):
    file, optimizers, right, wrong = FAULTS[fault]
    changed = mutant(f"rtl/{file}.py", (right, wrong))
    if file == "optimizer":
        monkeypatch.setattr(rtl.updater, "operations", changed.operations)
    lanes = Bench(machine("fp16", 2 if optimizers == SGD else 1, 5, optimizers), changed if file == "updater" else rtl.updater)
    numbers = ADAM_SETS[0]._replace(eps=0.01, decoupled_decay=0.01) if optimizers == ADAM else COEFFICIENT_SETS[0]
    elements = elements_of("fp16", 4000, 9)
    found = lanes.wrong(elements, numbers, traffic(4000 // lanes.lanes, 5, 9, 0.3, 0.2, 20))
    assert bool(found) == (not fault.startswith("none"))
