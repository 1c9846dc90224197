"""How values lie in the rows of a memory image: elements without gaps, N:M streams of values and indices, masks."""

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arithmetic import Packed, Values
from simulator.formats import NumberFormat
from workloads.sparsity import NM

__all__ = [
    "Bytes",
    "Element",
    "bytes_of",
    "entry_bytes",
    "operand_element",
    "pack_entries",
    "result_element",
    "unpack_entries",
    "values_of",
]

Bytes = NDArray[np.uint8]


class Element(StrEnum):
    """What a dense element is; its numpy type is that of `simulator.arithmetic`."""

    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT32 = "int32"
    FP32 = "fp32"
    MASK = "mask"  # bool, a bit each

    @property
    def bits(self) -> int:
        return {"fp16": 16, "bf16": 16, "int8": 8, "int32": 32, "fp32": 32, "mask": 1}[self.value]

    def row_bytes(self, elements: int) -> int:
        return -(-elements * self.bits // 8)


_TYPES: dict[Element, "np.dtype[Any]"] = {
    Element.FP16: np.dtype("<f2"),
    Element.INT8: np.dtype("i1"),
    Element.INT32: np.dtype("<i4"),
    Element.FP32: np.dtype("<f4"),
}


def operand_element(number: NumberFormat) -> Element:
    return Element(number.name)


def result_element(number: NumberFormat) -> Element:
    return Element.INT32 if number.name == "int8" else Element(number.name)


def values_of(element: Element, rows: Bytes, elements: int) -> Values:
    """The first `elements` values of each row (the last axis); bytes beyond them are dropped."""
    rows = np.ascontiguousarray(rows[..., : element.row_bytes(elements)])
    match element:
        case Element.MASK:
            return np.unpackbits(rows, axis=-1, count=elements, bitorder="little").astype(np.bool_)
        case Element.BF16:
            return (rows.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
        case _:
            return rows.view(_TYPES[element])


def bytes_of(element: Element, values: Values) -> Bytes:
    """The inverse of `values_of`. Raises ValueError where the values' type is not the element's."""
    dtype = {Element.MASK: np.dtype(np.bool_), Element.BF16: np.dtype(np.float32)}.get(element) or _TYPES[element]
    if values.dtype != dtype:
        raise ValueError(f"Values of element {element.value!r} must be {dtype}, not {values.dtype}")
    values = np.ascontiguousarray(values)
    match element:
        case Element.MASK:
            return np.packbits(values, axis=-1, bitorder="little")
        case Element.BF16:
            return (values.view(np.uint32) >> np.uint32(16)).astype("<u2").view(np.uint8)
        case _:
            return values.view(np.uint8)


def entry_bytes(number: NumberFormat, pattern: NM, entries: int) -> int:
    """Bytes of a row of `entries` kept elements."""
    return -(-entries * (number.operand_bits + pattern.index_bits) // 8)


def pack_entries(number: NumberFormat, pattern: NM, packed: Packed) -> Bytes:
    """Rows (the last axis) of kept elements as bit streams, zeros up to the last byte's end."""
    width = number.operand_bits + pattern.index_bits
    raw = bytes_of(operand_element(number), packed.values).view(f"<u{number.operand_bits // 8}")
    entries = raw.astype(np.uint64) | packed.indices.astype(np.uint64) << np.uint64(number.operand_bits)
    bits = (entries[..., None] >> np.arange(width, dtype=np.uint64) & np.uint64(1)).astype(np.uint8)
    return np.packbits(bits.reshape(*entries.shape[:-1], -1), axis=-1, bitorder="little")


def unpack_entries(number: NumberFormat, pattern: NM, rows: Bytes, entries: int) -> Packed:
    """The first `entries` kept elements of each row."""
    width = number.operand_bits + pattern.index_bits
    bits = np.unpackbits(rows, axis=-1, count=entries * width, bitorder="little").reshape(*rows.shape[:-1], entries, width)
    words = (bits.astype(np.uint32) << np.arange(width, dtype=np.uint32)).sum(axis=-1, dtype=np.uint32)
    raw = (words & np.uint32((1 << number.operand_bits) - 1)).astype(f"<u{number.operand_bits // 8}")
    values = values_of(operand_element(number), raw.view(np.uint8), entries)
    return Packed(values, (words >> np.uint32(number.operand_bits)).astype(np.int32))
