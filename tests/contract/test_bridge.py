# amaranth: UnusedElaboratable=no
"""Does the bridge answer every request, right ones and wrong ones, as the protocol says?"""

import struct

import numpy as np
from bridge_bench import CLOCK_HZ, DIVISOR, IDLE_CYCLES, MEMORY_BYTES, PROGRAM_BYTES, REGISTER_WORDS, BridgeBench
from rtl_kit.require import need_rtl

need_rtl()

from rtl_kit import NativeModel  # noqa: E402

from rtl.emit import check, verilog_of  # noqa: E402
from rtl.protocol import MAGIC, REQUEST_BYTES, Info, Opcode, Space, Status, checksum, request, with_checksum  # noqa: E402

INPUTS = ["lost", "tick", "busy", "wait", "received_valid", "received_payload", "sent_ready"]
OUTPUTS = ["received_ready", "sent_valid", "sent_payload", "reset"]


class Protocol:
    """What the memories and registers hold, and the answers."""

    def __init__(self) -> None:
        self.spaces = {Space.TENSORS: bytearray(MEMORY_BYTES), Space.PROGRAM: bytearray(PROGRAM_BYTES)}
        self.registers, self.writes, self.deaf, self.resets = [0] * REGISTER_WORDS, 0, False, 0

    def answer(self, sent: bytes) -> bytes:
        """To one request, complete or not, that silence follows."""
        deaf, self.deaf = self.deaf, False
        if deaf or len(sent) < REQUEST_BYTES:
            return b""
        opcode, tag, last, address = struct.unpack("<BBBI", sent[:7])
        if checksum(sent[:REQUEST_BYTES]):
            return self.reply(Status.CHECKSUM, tag)
        if opcode not in (Opcode.READ, Opcode.WRITE):
            return self.reply(Status.OPCODE, tag)
        space, address = Space(address >> 30), address & (1 << 30) - 1
        words, data = (last - address // 4) % 256 + 1, sent[REQUEST_BYTES:]
        limit = len(self.spaces[space]) if space in self.spaces else (32 if space is Space.INFO else 256)
        outside = address % 4 or address >= limit or (space not in self.spaces and words != 1)
        places = [address - address % 1024 + (address + 4 * number) % 1024 for number in range(words)]
        if opcode == Opcode.READ:
            return self.reply(Status.ADDRESS, tag) if outside else self.read(space, places, tag)
        if not outside and space in self.spaces:
            for number, place in enumerate(places[: len(data) // 4]):
                self.spaces[space][place : place + 4] = data[4 * number : 4 * number + 4]
        if len(data) < 4 * words + 2:
            return b""
        if checksum(data[: 4 * words + 2]):
            return self.reply(Status.CHECKSUM, tag)
        return self.reply(Status.ADDRESS if outside else self.write(space, address, data[:4]), tag)

    def read(self, space: Space, places: list[int], tag: int) -> bytes:
        if space in self.spaces:
            return self.reply(Status.OK, tag, b"".join(self.spaces[space][place : place + 4] for place in places))
        number = places[0] // 4
        if space is Space.REGISTERS:
            known = number < REGISTER_WORDS
            return self.reply(Status.OK, tag, struct.pack("<I", self.registers[number])) if known else self.reply(4, tag)
        info = {
            Info.MAGIC: MAGIC,
            Info.MEMORY_BYTES: MEMORY_BYTES,
            Info.PROGRAM_BYTES: PROGRAM_BYTES,
            Info.BUS_BYTES: 4,
            Info.CLOCK_HZ: CLOCK_HZ,
            Info.IDLE_CYCLES: IDLE_CYCLES,
            Info.DIVISOR: DIVISOR,
            Info.CONTROL: 1 + 2 * (self.writes % 2),
        }
        return self.reply(Status.OK, tag, struct.pack("<I", info[Info(number)]))

    def write(self, space: Space, address: int, data: bytes) -> Status:
        if space is Space.REGISTERS:
            self.writes += 1
            if address // 4 >= REGISTER_WORDS:
                return Status.REFUSED
            self.registers[address // 4] = struct.unpack("<I", data)[0]
        elif space is Space.INFO:
            if address // 4 != Info.CONTROL:
                return Status.REFUSED
            self.resets += data[0] & 1
        return Status.OK

    def reply(self, status: int, tag: int, data: bytes = b"") -> bytes:
        return with_checksum(bytes([status, tag]) + data)


def random_request(rng: np.random.Generator) -> bytes:
    space = Space(int(rng.integers(4)))
    size = {Space.TENSORS: MEMORY_BYTES, Space.PROGRAM: PROGRAM_BYTES, Space.REGISTERS: 24, Space.INFO: 32}[space]
    address = int(rng.integers(0, size // 4)) * 4
    words = 1 if space >= Space.REGISTERS else min(int(rng.choice([1, 2, 5, 256])), 256 - address // 4 % 256)
    opcode = Opcode(int(rng.choice([Opcode.READ, Opcode.WRITE])))
    match int(rng.integers(12)):
        case 0:
            address = int(rng.choice([size, size + 1024, 1 << 29, address + 1, address + 2, (1 << 30) - 4]))
        case 1:
            words = 2
        case 2:
            opcode = int(rng.integers(256))
    data = rng.bytes(4 * words) if opcode == Opcode.WRITE else b""
    return request(opcode, int(rng.integers(256)), space.base + address, words, data)


def test_answers():
    """Random requests with silence between them, each a view of the whole state; some cut short, some with a byte changed."""
    rng, protocol = np.random.default_rng(1), Protocol()
    plays = [
        request(Opcode.WRITE, 1, space.base + page, 256, rng.bytes(1024))
        for space, size in ((Space.TENSORS, MEMORY_BYTES), (Space.PROGRAM, PROGRAM_BYTES))
        for page in range(0, size, 1024)
    ]
    control = Space.INFO.base + 4 * Info.CONTROL
    plays += [request(Opcode.WRITE, 2, control, 1, struct.pack("<I", word)) for word in (1, 0, 3)]
    for _ in range(500):
        sent = random_request(rng)
        kind, place = rng.random(), int(rng.integers(len(sent)))
        if kind < 0.1:
            sent = sent[:place]
        elif kind < 0.2:
            sent = sent[:place] + bytes([sent[place] ^ 1 << int(rng.integers(8))]) + sent[place + 1 :]
        plays.append(sent)
    found, resets, wanted = [], 0, []
    rows: dict[str, list[int]] = {name: [] for name in ("received_valid", "received_payload", "tick")}
    starts = []
    for sent in plays:
        wanted.append(protocol.answer(sent))
        starts.append(len(rows["tick"]))
        gap = 12  # cycles of a byte: the bridge has to be ready for the next one
        for byte in sent:
            rows["received_valid"] += [1] + [0] * (gap - 1)
            rows["received_payload"] += [byte] + [0] * (gap - 1)
        silence = 4 * len(wanted[-1]) + 100
        rows["received_valid"] += [0] * (silence + 20)
        rows["received_payload"] += [0] * (silence + 20)
        rows["tick"] += [0] * (gap * len(sent) + silence) + [1, 0, 1, *[0] * 17]
    cycles = len(rows["tick"])
    inputs = {name: np.array(values, np.uint8) for name, values in rows.items()}
    inputs |= {"lost": np.zeros(cycles, np.uint8), "busy": np.ones(cycles, np.uint8)}
    inputs |= {"wait": rng.integers(0, 4, cycles).astype(np.uint8), "sent_ready": rng.integers(0, 2, cycles).astype(np.uint8)}
    model = NativeModel(verilog_of(BridgeBench(), "bench"), "bench", INPUTS, OUTPUTS)
    out = model.run(inputs)
    passes = (out["sent_valid"] & inputs["sent_ready"]) == 1
    assert out["received_ready"][inputs["received_valid"] == 1].all()
    for start, end, sent, answer in zip(starts, [*starts[1:], cycles], plays, wanted, strict=True):
        got = out["sent_payload"][start:end][passes[start:end]].tobytes()
        assert got == answer, (sent[:REQUEST_BYTES].hex(), len(sent))
        found.append(got[:1])
    resets = int(out["reset"].sum())
    assert resets == protocol.resets > 0
    assert {int.from_bytes(each, "little") for each in found if each} == {*Status}
    assert b"" in found


def test_nothing_is_heard_until_silence():
    """After a wrong checksum; and after a byte that the line lost, which ends the request."""
    good, wrong = request(Opcode.READ, 5, Space.INFO.base, 1), bytes(REQUEST_BYTES)
    plan = [
        (wrong, None, 0),
        (good, None, 0),
        (good, None, 2),
        (good, None, 0),
        (good, 4, 0),
        (good, None, 1),
        (good, None, 1),
        (good, None, 0),
    ]
    rows: dict[str, list[int]] = {name: [] for name in ("received_valid", "received_payload", "lost", "tick")}
    starts = []
    for sent, lost, ticks in plan:
        starts.append(len(rows["tick"]))
        for number, byte in enumerate(sent):
            rows["received_valid"] += [int(number != lost), 0, 0, 0]
            rows["received_payload"] += [byte, 0, 0, 0]
            rows["lost"] += [int(number == lost), 0, 0, 0]
            rows["tick"] += [0] * 4
        for name in rows:
            rows[name] += [0] * 100
        for _ in range(ticks):
            rows["tick"][-2 * _ - 3] = 1
    cycles = len(rows["tick"])
    inputs = {name: np.array(values, np.uint8) for name, values in rows.items()}
    inputs |= {"busy": np.ones(cycles, np.uint8), "wait": np.zeros(cycles, np.uint8), "sent_ready": np.ones(cycles, np.uint8)}
    out = NativeModel(verilog_of(BridgeBench(), "bench"), "bench", INPUTS, OUTPUTS).run(inputs)
    sent = [
        out["sent_payload"][a:b][out["sent_valid"][a:b] == 1].tobytes()
        for a, b in zip(starts, [*starts[1:], cycles], strict=True)
    ]
    answer, tag = with_checksum(bytes([0, 5]) + struct.pack("<I", MAGIC)), lambda data: (data[0], len(data), checksum(data))
    bad = (Status.CHECKSUM, 4, 0)
    assert tag(sent[0]) == tag(sent[4]) == bad
    # One tick after a byte, then bytes, then another tick: no silence of two.
    assert sent[1:4] == [b"", b"", answer]
    assert sent[5:] == [b"", b"", b""]


def test_text_is_sound():
    check(verilog_of(BridgeBench(), "bench"), "bench")
