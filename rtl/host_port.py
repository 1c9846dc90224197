"""What a host driver speaks through: a serial device of this computer, or anything else that carries bytes both ways."""

from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self

__all__ = ["BoardError", "Port", "SerialPort"]


class BoardError(RuntimeError):
    """The board can't be reached, isn't the one that was meant, or refused what was asked of it; the text says what to do."""


class Port(Protocol):
    """Bytes to and from a board."""

    def write(self, data: bytes) -> None:
        """Send all of `data`, now or as fast as the line takes them."""
        ...

    def read(self, count: int, timeout: float) -> bytes:
        """The next `count` bytes, or as many as came within `timeout` seconds."""
        ...


class SerialPort:
    """A serial device, ``/dev/ttyUSB1`` or ``COM3``, at `baud` bits per second: the board's clock divided by its divisor.

    Raises ModuleNotFoundError without pyserial, BoardError for a device that can't be opened.
    """

    def __init__(self, device: str, baud: int) -> None:
        try:
            serial: Any = import_module("serial")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("Package 'pyserial' must be installed to reach a board: pip install pyserial") from error
        try:
            self._serial: Any = serial.Serial(device, baud)
        except (OSError, ValueError) as error:  # pyserial's own error is an OSError
            raise BoardError(f"Device {device!r} must be a serial line that may be opened at {baud} baud: {error}") from error

    def write(self, data: bytes) -> None:
        self._serial.write(data)

    def read(self, count: int, timeout: float) -> bytes:
        self._serial.timeout = timeout
        return self._serial.read(count)

    def close(self) -> None:
        self._serial.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
