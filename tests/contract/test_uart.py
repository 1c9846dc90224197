# amaranth: UnusedElaboratable=no
"""Are bytes what the line's levels say, in the cycle that the divisor gives, and the levels those of the bytes?"""

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from flat_top import Flat  # noqa: E402
from rtl_kit import NativeModel  # noqa: E402

from rtl.emit import check, verilog_of  # noqa: E402
from rtl.uart import Receiver, Transmitter  # noqa: E402

DIVISORS = (4, 5, 8, 13)
INPUTS = ["rx", "bytes_ready", "rst"]
OUTPUTS = ["bytes_valid", "bytes_payload", "error"]


def levels(byte: int, stop: int = 1) -> list[int]:
    return [0, *(byte >> place & 1 for place in range(8)), stop]


def received(divisor: int, line: list[int], ready: np.ndarray | None = None) -> list[tuple[int, int]]:
    """(cycle, byte) of each new byte, (cycle, -1) of each error; the line is high before and behind `line`."""
    rx = np.array([1] * 4 + line + [1] * (12 * divisor), np.uint8)
    model = NativeModel(verilog_of(Flat(Receiver(divisor)), "receiver"), "receiver", INPUTS, OUTPUTS)
    ready = np.ones(len(rx), np.uint8) if ready is None else ready[: len(rx)]
    out = model.run({"rx": rx, "bytes_ready": ready, "rst": np.zeros(len(rx), np.uint8)})
    taken = (out["bytes_valid"] & ready).astype(bool)
    found = [(int(at) - 4, int(out["bytes_payload"][at])) for at in np.flatnonzero(taken)]
    return sorted(found + [(int(at) - 4, -1) for at in np.flatnonzero(out["error"])])


def complete(divisor: int, start: int) -> int:
    """The cycle in which a byte is there whose start bit began in cycle `start`."""
    return (
        start + 2 + divisor // 2 + 9 * divisor + 1
    )  # synchroniser, to the middle of the start bit, to the stop bit's, register


@pytest.mark.parametrize("divisor", DIVISORS)
def test_bytes_back_to_back_and_with_pauses(divisor: int):
    rng = np.random.default_rng(divisor)
    line, wanted = [], []
    for byte in (0, 255, 0x55, 0xAA, *rng.integers(0, 256, 100)):
        line += [1] * int(rng.choice([0, 0, 1, 2, 3 * divisor]))
        wanted.append((complete(divisor, len(line)), int(byte)))
        line += np.repeat(levels(int(byte)), divisor).tolist()
    assert received(divisor, line) == wanted


@pytest.mark.parametrize("divisor", DIVISORS)
def test_edges_a_cycle_late(divisor: int):
    """Each at random: what a synchroniser may do to any edge."""
    rng = np.random.default_rng(divisor)
    data, line = rng.integers(0, 256, 300).tolist(), []
    for byte in data:
        line += np.repeat(levels(byte), divisor).tolist()
    for at in range(len(line) - 1, 0, -1):
        if line[at] != line[at - 1] and rng.random() < 0.5:
            line[at] = line[at - 1]
    assert [byte for _, byte in received(divisor, line)] == data


@pytest.mark.parametrize("percent", [-3, 3])
def test_another_rate(percent: int):
    """A sender whose bits are 3 % longer or shorter."""
    divisor, data = 16, list(range(0, 256, 3))
    bits = [bit for byte in data for bit in levels(byte)]
    ends = np.round(np.arange(1, len(bits) + 1) * divisor * (1 + percent / 100)).astype(int)
    line = np.repeat(bits, np.diff(ends, prepend=0)).tolist()
    assert [byte for _, byte in received(divisor, line)] == data


@pytest.mark.parametrize("divisor", DIVISORS)
def test_no_start_bit_and_no_stop_bit(divisor: int):
    glitch = [0] * (divisor // 2) + [1] * (2 * divisor)
    good = np.repeat(levels(0x3C), divisor).tolist()
    broken = np.repeat(levels(0xC3, stop=0), divisor).tolist()
    line = glitch + good + broken + [0] * (30 * divisor) + [1] * divisor
    at = len(glitch)
    wanted = [(complete(divisor, at), 0x3C), (complete(divisor, at + len(good)), -1), (complete(divisor, len(line)), 0x3C)]
    assert received(divisor, line + good) == wanted


def test_bytes_that_are_not_taken():
    """The older byte stays, the newer one is lost; one that is taken in the same cycle makes room."""
    divisor = 4
    line = [level for byte in (1, 2, 3) for level in np.repeat(levels(byte), divisor).tolist()]
    ready = np.zeros(1000, np.uint8)
    last = complete(divisor, 80)
    ready[4 + last - 1 :] = 1
    assert received(divisor, line, ready) == [(complete(divisor, 40), -1), (last - 1, 1), (last, 3)]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_sending(divisor: int):
    """Bytes without a pause, and after pauses; the line is high between them."""
    rng = np.random.default_rng(divisor)
    data, pauses = rng.integers(0, 256, 60), rng.choice([0, 0, 1, 7], 60)
    valid, payload, tx, ready = [], [], [1], []
    for byte, pause in zip(data.tolist(), pauses.tolist(), strict=True):
        wait = [0] * pause
        valid += [*wait, 1] + [1] * (10 * divisor - 1)  # the next byte waits, or this one stays: it isn't taken again
        payload += [byte ^ 0xFF] * pause + [byte] + [byte ^ 0xFF] * (10 * divisor - 1)
        ready += [1] * (pause + 1) + [0] * (10 * divisor - 1)
        tx += [1] * pause + np.repeat(levels(byte), divisor).tolist()
    ports = {"bytes_valid": valid, "bytes_payload": payload, "rst": [0] * len(valid)}
    model = NativeModel(verilog_of(Flat(Transmitter(divisor)), "sender"), "sender", list(ports), ["tx", "bytes_ready"])
    out = model.run({name: np.array(values, np.uint8) for name, values in ports.items()})
    assert out["tx"].tolist() == tx[:-1]
    assert out["bytes_ready"].tolist() == ready


@pytest.mark.parametrize("unit", [Receiver, Transmitter])
def test_divisors_and_sound_text(unit: type):
    check(verilog_of(unit(4), "unit"), "unit")
    for divisor in (3, 0, 4.0):
        with pytest.raises(ValueError, match=f"field 'divisor' must be at least 4 clock cycles of a bit, not {divisor}"):
            unit(divisor)
