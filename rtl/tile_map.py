"""Where the host of a tile finds its memories, its command and its registers, and how their bits lie there.

Space TENSORS is written: a region for each bank, the array's rows first, then its columns, then the command. A bank's word
has all that one answer to the array may need: `width` entries' values, and `width` entries' indices. Its bits are cut into
parts of 32, values first, the indices in parts of their own:

    region: part 0 of word 0, part 0 of word 1, ...; part 1 of word 0, ...; the last part of the indices

Space PROGRAM is read: a region for each bank of results, one accumulator a word, in the order of docs/machine.md ('Result
buffer'): place p of word w is accumulator ``w * places + p``.

Parts, words and regions begin at powers of two. Space REGISTERS holds `SHOWN` and `START`, at the machine's addresses.
"""

from dataclasses import dataclass
from functools import cached_property

from rtl.protocol import MEMORY_PAGE, WORD_BYTES
from simulator.arch import Accelerator, Dataflow, ceil_div
from simulator.layout import operand_words, power_of_two, result_places, result_words, word_elements

__all__ = ["COMMAND_FORMAT", "SHOWN", "START", "TileMap"]

COMMAND_FORMAT = 0  # what register `version` says: a tile takes no programs
SHOWN = ("digest", "version", "status", "cycles")
START = "start"
_WORD_BITS = 8 * WORD_BYTES
_SIZE_BITS = 16  # of a command's sizes, at most


@dataclass(frozen=True)
class TileMap:
    """Sizes and addresses, in bytes unless they say otherwise, for one accelerator."""

    accelerator: Accelerator

    @property
    def width(self) -> int:
        """Entries of a bank's word: a group, or the lanes."""
        return power_of_two(max(self.accelerator.pe.group, self.accelerator.pe.lanes))

    @property
    def index_bits(self) -> int:
        return max(1, (self.width - 1).bit_length())

    @property
    def parts(self) -> tuple[int, ...]:
        """Bits of each part of a bank's word."""
        found: list[int] = []
        for bits in (self.width * self.accelerator.pe.number.operand_bits, self.width * self.index_bits):
            found += [_WORD_BITS] * (bits // _WORD_BITS) + [bits % _WORD_BITS] * (bits % _WORD_BITS > 0)
        return tuple(found)

    @property
    def value_parts(self) -> int:
        return ceil_div(self.width * self.accelerator.pe.number.operand_bits, _WORD_BITS)

    @property
    def banks(self) -> int:
        """Of operands."""
        return self.accelerator.array.rows + self.accelerator.array.cols

    @cached_property
    def words(self) -> tuple[int, int]:
        """Of a row's bank and of a column's: a slot of the buffers whose operands they take in the array's dataflows."""
        flows = set(self.accelerator.array.dataflows)
        sizes = {
            side: operand_words(self.accelerator, side) * word_elements(self.accelerator) // self.width for side in ("a", "b")
        }
        others, swapped = flows - {Dataflow.IS}, Dataflow.IS in flows
        rows = max(sizes["a"] if others else 0, sizes["b"] if swapped else 0)
        return rows, max(sizes["b"] if others else 0, sizes["a"] if swapped else 0)

    def entries(self, bank: int) -> int:
        """That a bank holds."""
        return self.words[bank >= self.accelerator.array.rows] * self.width

    @property
    def word_bits(self) -> int:
        """Of a word's number within its part, as the addresses have it."""
        return max(max(self.words) - 1, ceil_div(self.command_bits, _WORD_BITS) - 1, 1).bit_length()

    @property
    def part_bits(self) -> int:
        """Of a part's number."""
        return (len(self.parts) - 1).bit_length()

    @property
    def bank_bytes(self) -> int:
        return WORD_BYTES << self.word_bits + self.part_bits

    @property
    def operand_bytes(self) -> int:
        """Of the whole space: the command's region is the one behind the banks."""
        return max(MEMORY_PAGE, power_of_two(self.banks + 1) * self.bank_bytes)

    def address(self, bank: int, part: int = 0) -> int:
        return bank * self.bank_bytes + (part << self.word_bits) * WORD_BYTES

    @property
    def command_address(self) -> int:
        return self.address(self.banks)

    @property
    def sums(self) -> int:
        """Accumulators of a bank of results."""
        return result_words(self.accelerator) * result_places(self.accelerator)

    @property
    def sum_bits(self) -> int:
        """Of an accumulator's number within its bank."""
        return max(1, (self.sums - 1).bit_length())

    @property
    def result_bytes(self) -> int:
        """Of the whole space."""
        return max(MEMORY_PAGE, power_of_two(self.accelerator.array.cols) * (WORD_BYTES << self.sum_bits))

    def result_address(self, bank: int) -> int:
        return bank * (WORD_BYTES << self.sum_bits)

    @cached_property
    def command(self) -> dict[str, int]:
        """Bits of the command's fields, the first one lowest: as many as matrices need that fit. Slots are 0."""
        array = self.accelerator.array
        stride = max(self.entries(0), self.entries(array.rows)).bit_length()
        lines = min(_SIZE_BITS, (self.sums * array.cols).bit_length())
        reduction = min(_SIZE_BITS, (array.rows * max(self.entries(0), self.entries(array.rows))).bit_length())
        pattern = self.width.bit_length()
        fields = {"m": lines, "n": lines, "k": reduction, "a_stride": stride, "b_stride": stride}
        fields |= {"c_stride": result_words(self.accelerator).bit_length(), "keep": pattern, "group": pattern, "sparse_b": 1}
        return fields | ({"dataflow": 2} if array.dataflows != (Dataflow.OS,) else {})

    @property
    def command_bits(self) -> int:
        return sum(self.command.values())
