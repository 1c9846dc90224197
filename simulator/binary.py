"""The commands that a binary program's words stand for: what the simulator runs of the bytes that the RTL executes."""

from collections.abc import Iterator
from dataclasses import dataclass

from simulator.encoding import DATAFLOWS, Opcode, Word, program_words
from simulator.schedule import Command, Engine, Load, Multiply, Prune, Store, Tile, Update, Vector, Wait
from simulator.vector_operations import VectorOperation
from workloads.sparsity import DENSE, NM

__all__ = ["BinaryProgram", "command", "program_of"]


@dataclass(frozen=True, slots=True)
class BinaryProgram:
    """A decoded program, for `simulator.machine.run`."""

    words: tuple[Word, ...]

    @property
    def tags(self) -> int:
        return 1 + max((word.op for word in self.words), default=-1)

    def __iter__(self) -> Iterator[Command]:
        return map(command, self.words)


def program_of(data: bytes) -> BinaryProgram:
    """The program of the bytes that the RTL executes. Raises ValueError for a malformed one."""
    return BinaryProgram(tuple(program_words(data)))


def command(word: Word) -> Command:
    """What the simulator needs of a word; END is none. Tiles are boxes of the right size at 0, batch is 1."""
    get, opcode = word.fields, word.opcode
    waits = tuple(Wait(engine, word.waits[engine]) for engine in Engine if word.waits.get(engine))
    match opcode:
        case Opcode.LOAD_A | Opcode.LOAD_B | Opcode.LOAD_WORK:
            return Load(
                op=word.op,
                engine=opcode.engine,  # pyright: ignore[reportArgumentType]
                slot=get["slot"],
                runs=get["rows"],
                run_bytes=get["row_bytes"],
                plane=get.get("plane", 0),
                waits=waits,
            )
        case Opcode.STORE_C:
            return Store(
                op=word.op, engine=Engine.STORE_C, slot=get["slot"], runs=get["rows"], run_bytes=get["row_bytes"], waits=waits
            )
        case Opcode.STORE_WORK:
            return Store(
                op=word.op,
                engine=Engine.STORE_WORK,
                slot=get["slot"],
                runs=get["rows"],
                run_bytes=get["row_bytes"],
                plane=get["plane"],
                pattern=NM(1, get["group"]) if get["kept"] else None,  # a store needs the width of an index only
                indices=get["indices"],
                entries=get["entries"],
                waits=waits,
            )
        case Opcode.ARRAY:
            return Multiply(
                op=word.op,
                dataflow=DATAFLOWS[get["dataflow"]],
                tile=Tile(range(1), range(get["m"]), range(get["n"]), range(get["k"])),
                pattern=NM(get["keep"], get["group"]) if get["group"] else DENSE,
                sparse="b" if get["sparse_b"] else "a",
                accumulate=bool(get["accumulate"]),
                a_slot=get["a_slot"],
                b_slot=get["b_slot"],
                c_slot=get["c_slot"],
                waits=waits,
            )
        case Opcode.PRUNE:
            return Prune(
                op=word.op,
                buffer="work",
                slot=get["slot"],
                elements=get["elements"],
                pattern=NM(get["keep"], get["group"]),
                across=bool(get["across"]),
                row_elements=get["row_elements"],
                source=get["source"],
                values=get["values"],
                indices=get["indices"],
                waits=waits,
            )
        case Opcode.UPDATE:
            planes = {name: get[name] for name in ("weight", "velocity", "second", "gradient", "copy", "mask")}
            flags = {name: bool(get[name]) for name in ("masked", "adam")}
            return Update(op=word.op, slot=get["slot"], elements=get["elements"], waits=waits, **planes, **flags)
        case Opcode.VECTOR:
            planes = {name: get[name] for name in ("x", "y", "out")}
            operation = VectorOperation(get["operation"]).name.lower()
            return Vector(op=word.op, slot=get["slot"], work=get["elements"], operation=operation, waits=waits, **planes)
        case Opcode.END:
            raise ValueError("Word 'END' must not be run: it ends the program")
