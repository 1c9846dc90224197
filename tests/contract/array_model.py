"""Buffers, commands and expected values around the array's RTL: the same for the native model and under cocotb."""

from dataclasses import dataclass

import numpy as np
from pe_jobs import accumulator_bits, operand_bits, pack, random_operands, random_sums

from rtl.array_ports import column_request, command_layout, encode, row_request, sum_request, sum_write
from rtl.pe import operand_layout, product_cycles
from simulator.arch import Accelerator, Dataflow
from simulator.arithmetic import accumulator_dtype, compress, multiply_dense, multiply_sparse
from simulator.layout import Banking, banking, result_places
from simulator.timing import multiply_time
from workloads.sparsity import NM

__all__ = ["SLOTS", "Job", "Surroundings", "random_job", "unpack"]

SLOTS = 16


@dataclass
class Job:
    """One command, its operands' bits as the buffers hold them, C before and as it must be after."""

    fields: dict
    what: tuple
    accelerator: Accelerator
    a: dict  # dense: (line, k); kept: values and indices (line, kept)
    b: dict  # the same, lines are columns of B
    c: np.ndarray
    want: np.ndarray
    written: np.ndarray
    accepted: int = -1
    done: int = -1
    last_write: int = -1

    @property
    def times(self):
        time = multiply_time(self.accelerator, *self.what)
        return int(time.occupancy), int(time.tail)


def side(name, matrix, pattern, sparse):
    """A operand (lines, k): what the buffer gives, and the matrix or its packed form."""
    if not sparse:
        return {"values": operand_bits(name, np.ascontiguousarray(matrix)), "index": None}, matrix
    packed = compress(matrix[None], pattern, 2)
    return {"values": operand_bits(name, np.ascontiguousarray(packed.values))[0], "index": packed.indices[0]}, packed


def random_job(accelerator, rng, dataflow, pattern, m, n, k, number):
    pe = accelerator.pe
    nm = isinstance(pattern, NM)
    sparse, accumulate = "ab"[rng.integers(2)], bool(rng.integers(2))
    a, b = random_operands(rng, pe.format, (m, k)), random_operands(rng, pe.format, (n, k))
    c = random_sums(rng, pe.format, (1, m, n))
    start = c if accumulate else np.zeros((1, m, n), accumulator_dtype(pe.number))
    held_a, packed_a = side(pe.format, a, pattern, nm and sparse == "a")
    held_b, packed_b = side(pe.format, b, pattern, nm and sparse == "b")
    if not nm:
        sums = multiply_dense(pe.number, pe.lanes, start, a[None], np.ascontiguousarray(b.T)[None])
    elif sparse == "a":
        sums = multiply_sparse(pe.number, pe.lanes, start, packed_a, np.ascontiguousarray(b.T)[None], pattern)
    else:
        turned = start.transpose(0, 2, 1)
        sums = multiply_sparse(pe.number, pe.lanes, turned, packed_b, np.ascontiguousarray(a.T)[None], pattern)
        sums = sums.transpose(0, 2, 1)
    what = (dataflow, m, n, k, pattern, sparse, accumulate)
    place = number % SLOTS
    fields = encode(accelerator, *what) | {"a_slot": place, "b_slot": (place + 5) % SLOTS, "c_slot": (place + 9) % SLOTS}
    # Any strides will do here: requests must say what docs/machine.md says of them.
    fields |= {
        "a_stride": int(rng.integers(1, 4000)),
        "b_stride": int(rng.integers(1, 4000)),
        "c_stride": int(rng.integers(1, 40)),
    }
    return Job(
        fields,
        what,
        accelerator,
        held_a,
        held_b,
        accumulator_bits(np.ascontiguousarray(c))[0].copy(),
        accumulator_bits(np.ascontiguousarray(sums))[0],
        np.zeros((m, n), np.int64),
    )


def unpack(layout, bits):
    return {name: bits >> at.offset & ((1 << at.width) - 1) for name, at in layout}


class Surroundings:
    """Answers the array's requests, offers commands, takes results. `step` sees one cycle's outputs, gives the next inputs."""

    def __init__(self, accelerator, jobs, pauses=()):
        pe, array = accelerator.pe, accelerator.array
        self.accelerator, self.jobs, self.pauses = accelerator, jobs, dict(pauses)
        self.rows, self.cols, self.pe = array.rows, array.cols, pe
        self.layouts = {
            "row_request": (row_request(accelerator), self.rows),
            "column_request": (column_request(accelerator), self.cols),
            "sums_request": (sum_request(accelerator), self.cols),
            "results": (sum_write(accelerator), self.cols),
        }
        self.command, self.operand = command_layout(accelerator), operand_layout(pe)
        self.places = {"a": {}, "b": {}, "c": {}}
        self.next, self.cycle, self.idle = 0, 0, 0
        self.pending, self.drained_at = [], 0  # accepted, not done; cycle in which the last OS command is done
        widest = max(self.rows, self.cols) * max(self.operand.size, 32)
        self.junk = int.from_bytes(np.random.default_rng(99).bytes(widest // 8 + 16), "little")

    @property
    def finished(self):
        return self.next == len(self.jobs) and not self.pending

    def offer(self):
        """The command port of this cycle. A WS or IS command waits until the OS commands before it are done."""
        offered = self.next < len(self.jobs) and self.cycle >= self._earliest(self.next)
        payload = pack(self.command, self.jobs[self.next].fields) if offered else 0
        return {"valid": int(offered), "payload": payload}

    def step(self, offered, outputs):
        """One enabled cycle: returns the answers that the ports show in the next."""
        answers = {"row_data": self._operands(outputs, "row_request"), "column_data": self._operands(outputs, "column_request")}
        if product_cycles(self.pe):
            answers["sums_data"] = self._sums(outputs["sums_request"])
        self._writes(outputs["results"])
        if not product_cycles(self.pe):  # the c buffer then shows what is written in the same cycle
            answers["sums_data"] = self._sums(outputs["sums_request"])
        self._one_port(outputs)
        self._commands(offered, outputs)
        self.cycle += 1
        return answers

    def _commands(self, offered, outputs):
        if outputs["done"]:
            self.pending.pop(0).done = self.cycle
        if offered["valid"] and outputs["ready"]:
            job = self.jobs[self.next]
            job.accepted = self.cycle
            for name in "abc":
                self.places[name][job.fields[f"{name}_slot"]] = job
            self.pending.append(job)
            if job.what[0] is Dataflow.OS:
                self.drained_at = self.cycle + 1 + sum(job.times)
            self.next += 1
            self.idle = self.cycle + 1 + self.pauses.get(self.next, 0)

    def _earliest(self, number):
        """Cycle in which the command is offered, as far as is known."""
        return self.idle if self.jobs[number].what[0] is Dataflow.OS else max(self.idle, self.drained_at)

    def _one_port(self, outputs):
        """A row and the column of its number never ask one buffer at once: a bank has one read port."""
        rows = {i: ask["operand_b"] for i, ask in self._each("row_request", outputs["row_request"]) if ask}
        columns = {i: 1 - ask["operand_a"] for i, ask in self._each("column_request", outputs["column_request"]) if ask}
        assert not rows.items() & columns.items(), (self.cycle, rows, columns)

    def _each(self, port, bits):
        layout, count = self.layouts[port]
        for i in range(count):
            each = bits >> (i * layout.size)
            yield i, unpack(layout, each) if each & 1 else None  # the lowest field is `valid`

    def _operands(self, outputs, port):
        total = self._junk(self.layouts[port][1] * self.operand.size)
        for i, ask in self._each(port, outputs[port]):
            answer = self._operand(i, ask, port) if ask else None
            if answer is not None:
                total = self._replace(total, answer, i * self.operand.size, self.operand.size)
        return total

    def _junk(self, bits):
        """What a port shows that was not asked, or beyond its matrix."""
        return self.junk >> (self.cycle % 64) & ((1 << bits) - 1)

    @staticmethod
    def _replace(total, value, at, bits):
        return total & ~(((1 << bits) - 1) << at) | value << at

    def _operand(self, number, ask, port):
        name = ("b" if ask["operand_b"] else "a") if port == "row_request" else ("a" if ask["operand_a"] else "b")
        job = self.places[name][ask["slot"]]
        held, pattern = (job.a if name == "a" else job.b), job.what[4]
        assert bool(ask["kept"]) == (held["index"] is not None)
        values, index = held["values"], held["index"]
        depth = pattern.keep if ask["kept"] else self.pe.depth(pattern)
        at = [ask["step"] * depth + i for i in range(depth)]
        if ask["line"] >= len(values) or at[0] >= values.shape[1]:
            return None
        at = [x for x in at if x < values.shape[1]]
        self._entry(number, ask, name, job, depth)
        if ask.get("word"):
            if ask["register"] >= len(at):
                return None
            at = [at[ask["register"]]]
        elif ask["kept"]:
            at = at[ask["beat"] * self.pe.lanes : (ask["beat"] + 1) * self.pe.lanes]
        fields = {"values": values[ask["line"], at]}
        if ask["kept"]:
            fields["index"] = index[ask["line"], at]
        return pack(self.operand, fields)

    def _entry(self, number, ask, name, job, depth):
        """The bank and the first entry, by docs/machine.md."""
        line, step, stride = ask["line"], ask["step"], job.fields[f"{name}_stride"]
        j = ask["register"] if ask.get("word") else ask["beat"] * self.pe.lanes if ask["kept"] else 0
        match banking(job.what[0], name):
            case Banking.LINE_ROWS:
                bank, entry = line % self.rows, line // self.rows * stride + step * depth + j
            case Banking.LINE_COLS:
                bank, entry = line % self.cols, line // self.cols * stride + step * depth + j
            case Banking.STEP_ROWS:
                bank, entry = step % self.rows, line * stride + step // self.rows * depth + j
        assert (number, ask["entry"]) == (bank, entry), (job.what, name, ask)

    def _sum(self, number, ask):
        """The bank, word and place, by docs/machine.md."""
        job, places = self.places["c"][ask["slot"]], result_places(self.accelerator)
        fold, u = ask["v"] // self.cols, ask["u"]
        word = u // places * job.fields["c_stride"] + fold
        got = (number, ask["word"], ask["place"])
        assert got == (ask["v"] % self.cols, word, (u + fold) % places), (job.what, ask)

    def _where(self, ask):
        job = self.places["c"][ask["slot"]]
        return job, (ask["v"], ask["u"]) if ask["swapped"] else (ask["u"], ask["v"])

    def _writes(self, bits):
        for i, write in self._each("results", bits):
            if write:
                self._sum(i, write)
                job, at = self._where(write)
                assert all(place < size for place, size in zip(at, job.c.shape, strict=True)), (job.what, write)
                job.c[at] = write["sum"]
                job.written[at] += 1
                job.last_write = self.cycle

    def _sums(self, bits):
        width = self.pe.number.accumulator_bits
        total = self._junk(self.cols * width)
        for i, ask in self._each("sums_request", bits):
            if ask:
                job, at = self._where(ask)
                if all(x < size for x, size in zip(at, job.c.shape, strict=True)):
                    self._sum(i, ask)
                    total = self._replace(total, int(job.c[at]), i * width, width)
        return total

    def check(self):
        """Values, times and writes of all jobs."""
        for number, job in enumerate(self.jobs):
            occupancy, tail = job.times
            dataflow, _, _, k, pattern, _, _ = job.what
            label = f"command {number}: {job.what}"
            assert job.done - (job.accepted + 1) == occupancy + tail, (label, job.done - job.accepted - 1, occupancy, tail)
            assert job.last_write <= job.done, label
            if number + 1 < len(self.jobs) and not self.pauses.get(number + 1):
                took = self.jobs[number + 1].accepted - job.accepted
                waits = dataflow is Dataflow.OS and self.jobs[number + 1].what[0] is not Dataflow.OS
                wanted = occupancy + 1 + tail if waits else occupancy
                assert took == wanted, f"{label} takes {took}, not {wanted}"
            wrong = np.argwhere(job.c != job.want)
            assert not len(wrong), f"{label}: {len(wrong)} of {job.c.size} wrong, first {wrong[0]}"
            parts = 1
            if dataflow is not Dataflow.OS:
                parts = -(-k // (self.rows * self.pe.depth(pattern)))
            assert (job.written == parts).all(), label
