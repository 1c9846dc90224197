"""An AXI4 memory for cocotb benches: the latency of docs/machine.md 'Memory port', or slower at random.

The same rules as `rtl/native/memory_model.h`.
"""

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

__all__ = ["AxiMemory", "Stalls"]

_SLAVE_ERROR = 2
_READ_IN = ("arvalid", "araddr", "arlen", "arsize", "arburst", "rready")
_WRITE_IN = ("awvalid", "awaddr", "awlen", "awsize", "awburst", "wvalid", "wdata", "wstrb", "wlast", "bready")


@dataclass(frozen=True, kw_only=True)
class Stalls:
    """Chances of a signal being low in a cycle in which it could be high, and cycles of latency beyond the least."""

    arready: float = 0
    awready: float = 0
    wready: float = 0
    rvalid: float = 0
    bvalid: float = 0
    extra_latency: int = 0  # at most, for each burst
    seed: int = 0


_NEVER = Stalls()


@dataclass
class _Burst:
    address: int
    at: int  # the cycle of the first beat, or of the response
    beats: int
    beat: int = 0
    error: bool = False


class AxiMemory:
    """Answers the AXI4 master whose ports on `dut` are named `prefix_awaddr` and so on; one that only reads will do, too.

    In each cycle `before` drives the master's inputs, from earlier cycles only, `after` samples its outputs once they have
    settled; `run` does both. Beat i of a read accepted in cycle x is offered in cycle x + latency + i at the earliest, in
    order, one a cycle; a write's response in cycle max(x + latency + beats - 1, last data beat + 1). `data` are read when
    offered and written when taken; `base` is their address. What is out of range answers SLVERR. Breaking a rule of AXI is
    an AssertionError.
    """

    def __init__(
        self,
        dut: Any,
        prefix: str,
        data: bytearray,
        bus_bytes: int,
        latency: int,
        *,
        base: int = 0,
        stalls: Stalls = _NEVER,
    ) -> None:
        self.data, self.bus, self.latency, self.base = data, bus_bytes, latency, base
        self.stalls = stalls
        self.cycle = self.in_flight = self.most_in_flight = 0
        self._ports = {name: getattr(dut, f"{prefix}_{name}") for name in _READ_IN}
        drives = ["arready", "rvalid", "rlast", "rresp", "rdata"]
        if hasattr(dut, f"{prefix}_awvalid"):
            self._ports |= {name: getattr(dut, f"{prefix}_{name}") for name in _WRITE_IN}
            drives += ["awready", "wready", "bvalid", "bresp"]
        self._drives = {name: getattr(dut, f"{prefix}_{name}") for name in drives}
        self._out = dict.fromkeys(drives, 0)
        self._random = random.Random(self.stalls.seed)
        self._reads: deque[_Burst] = deque()
        self._writes: deque[_Burst] = deque()
        self._responses: deque[_Burst] = deque()
        self._beats: deque[tuple[int, int, int]] = deque()
        self._stood: dict[str, int] = {}  # what was not taken in the last cycle and must stay as it is

    async def run(self, clk: Any) -> None:
        """Answer for ever, from the cycle in which it is called."""
        from cocotb.triggers import FallingEdge, RisingEdge

        while True:
            self.before()
            await FallingEdge(clk)
            self.after()
            await RisingEdge(clk)

    def before(self) -> None:
        """Drive this cycle's inputs of the master."""
        out = self._out
        for name in ("arready", "awready", "wready"):
            if name in out:
                out[name] = int(not self._chance(getattr(self.stalls, name)))
        if not out["rvalid"] and self._reads:
            burst = self._reads[0]
            if self.cycle >= burst.at + burst.beat and not self._chance(self.stalls.rvalid):
                address = burst.address + burst.beat * self.bus
                at, inside = address - self.base, self._inside(address)
                word = int.from_bytes(self.data[at : at + self.bus], "little") if inside else 0
                last = int(burst.beat + 1 == burst.beats)
                out |= {"rvalid": 1, "rdata": word, "rlast": last, "rresp": 0 if inside else _SLAVE_ERROR}
        if self._responses and not out["bvalid"]:
            response = self._responses[0]
            if self.cycle >= response.at and not self._chance(self.stalls.bvalid):
                out |= {"bvalid": 1, "bresp": _SLAVE_ERROR if response.error else 0}
        self._out = out
        for name, port in self._drives.items():
            port.value = out[name]

    def after(self) -> dict[str, int]:
        """Sample this cycle's outputs of the master, and return them with what was driven."""
        seen = {name: int(port.value) for name, port in self._ports.items()}
        out = dict(self._out)
        self._check(seen)
        for channel, queue in (("ar", self._reads), ("aw", self._writes)):
            if seen.get(f"{channel}valid") and out[f"{channel}ready"]:
                extra = self._random.randint(0, self.stalls.extra_latency)
                at = self.cycle + self.latency + extra
                queue.append(_Burst(seen[f"{channel}addr"], at, seen[f"{channel}len"] + 1))
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if out["rvalid"] and seen["rready"]:
            self._out["rvalid"] = 0
            self._reads[0].beat += 1
            if self._reads[0].beat == self._reads[0].beats:
                self._finish(self._reads)
        if out.get("bvalid") and seen["bready"]:
            self._out["bvalid"] = 0
            self._finish(self._responses)
        if seen.get("wvalid") and out["wready"]:
            self._beats.append((seen["wdata"], seen["wstrb"], seen["wlast"]))
        while self._writes and self._beats:  # data may have come before their burst
            self._write(self._writes[0], *self._beats.popleft())
        self._stood = {}
        for channel, fields in (("ar", ("addr", "len")), ("aw", ("addr", "len")), ("w", ("data", "strb", "last"))):
            if seen.get(f"{channel}valid") and not out[f"{channel}ready"]:
                self._stood |= {f"{channel}{field}": seen[f"{channel}{field}"] for field in ("valid", *fields)}
        self.cycle += 1
        return seen | out

    def _chance(self, part: float) -> bool:
        return part > 0 and self._random.random() < part

    def _inside(self, address: int) -> bool:
        return self.base <= address and address - self.base + self.bus <= len(self.data)

    def _finish(self, queue: deque[_Burst]) -> None:
        queue.popleft()
        self.in_flight -= 1

    def _write(self, burst: _Burst, word: int, strobe: int, last: int) -> None:
        address = burst.address + burst.beat * self.bus
        if self._inside(address):
            for i, byte in enumerate(word.to_bytes(self.bus, "little")):
                if strobe >> i & 1:
                    self.data[address - self.base + i] = byte
        else:
            burst.error = True
        burst.beat += 1
        assert last == (burst.beat == burst.beats), "WLAST must be high in a burst's last beat only"
        if last:
            burst.at = max(burst.at + burst.beats - 1, self.cycle + 1)
            self._responses.append(burst)
            self._writes.popleft()

    def _check(self, seen: dict[str, int]) -> None:
        for name, value in self._stood.items():
            assert seen[name] == value, f"cycle {self.cycle}: {name.upper()} must stay until taken"
        for channel in ("ar", "aw"):
            if seen.get(f"{channel}valid"):
                address, length = seen[f"{channel}addr"], (seen[f"{channel}len"] + 1) * self.bus
                assert 1 << seen[f"{channel}size"] == self.bus, "AxSIZE must be the bus's width"
                assert seen[f"{channel}burst"] == 1, "AxBURST must be INCR"
                assert address % self.bus == 0, "AxADDR must be a beat's"
                assert address // 4096 == (address + length - 1) // 4096, "A burst must not cross 4096 bytes"
