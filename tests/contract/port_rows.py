"""Python integers as the arrays that a native model's ports take and give, and back."""

import numpy as np

__all__ = ["as_array", "as_integers"]


def as_array(values: list[int], bits: int) -> np.ndarray:
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        if bits <= 8 * np.dtype(dtype).itemsize:
            return np.array(values, dtype)
    words = -(-bits // 32)
    raw = b"".join(value.to_bytes(4 * words, "little") for value in values)
    return np.frombuffer(raw, np.uint32).reshape(len(values), words)


def as_integers(array: np.ndarray) -> list[int]:
    if array.ndim == 1:
        return [int(value) for value in array]
    return [int.from_bytes(row.tobytes(), "little") for row in array]
