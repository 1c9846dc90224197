"""Requests of `rtl.protocol` through a port: sent again when bytes were changed or lost, until the board has answered."""

from collections.abc import Callable

from rtl.host_port import BoardError, Port
from rtl.protocol import CHECKSUM_BYTES, WORD_BYTES, Opcode, Status, checksum, request

__all__ = ["Link"]

_SHORTEST = 2 + CHECKSUM_BYTES  # bytes of an answer: status, tag, checksum


class _Disturbed(Exception):  # noqa: N818
    """No answer, or one that isn't right; the text says what happened."""


class Link:
    """`timeout`: seconds without an answer, beyond the time that the bytes take on the line; `quiet`: seconds of silence after
    which both sides begin anew, longer than the board's own; `attempts`: how often a request is sent at most."""

    def __init__(self, port: Port, *, timeout: float, quiet: float, attempts: int) -> None:
        self.timeout, self.quiet, self.attempts = timeout, quiet, attempts
        self.byte_seconds = 0.0  # of a byte on the line, once it is known
        self.repeated = 0  # requests that were sent again
        self._port, self._tag = port, 0

    def ask(
        self, opcode: Opcode, address: int, words: int, data: bytes = b"", *, happened: Callable[[], bool] | None = None
    ) -> bytes:
        """Send a request and return the data of its answer.

        A request that must not be done twice gives `happened`, which tells whether it was done though its answer was lost.
        Raises BoardError when the board refuses it, or doesn't answer.
        """
        reasons: list[str] = []
        for attempt in range(self.attempts):
            self.repeated += attempt > 0
            try:
                return self._once(opcode, address, words, data)
            except _Disturbed as error:
                reasons.append(str(error))
            self.settle()
            if happened is not None and happened():
                return b""
        if len({*reasons}) == 1 and reasons[0] == _SILENCE:
            raise BoardError(
                f"Board must answer, not be silent in {self.attempts} attempts: check that it is configured and out of reset, "
                "that this is its device, and that the baud rate is its clock divided by its divisor"
            )
        raise BoardError(
            f"Line must carry bytes unchanged, not fail in {self.attempts} attempts ({'; '.join(reasons)}): check the baud "
            "rate, the cable, and that no other program uses the device"
        )

    def settle(self) -> None:
        """Wait until the line is silent for so long that the board waits for a new request."""
        while self._port.read(4096, self.quiet):
            pass

    def _once(self, opcode: Opcode, address: int, words: int, data: bytes) -> bytes:
        self._tag = (self._tag + 1) % 256
        sent = request(opcode, self._tag, address, words, data)
        self._port.write(sent)
        answer = self._read(_SHORTEST, len(sent))
        if opcode is Opcode.READ and answer[0] == Status.OK:
            answer += self._read(WORD_BYTES * words, 0)
        if checksum(answer):
            raise _Disturbed("an answer's checksum was wrong")
        status, tag, payload = answer[0], answer[1], answer[2:-CHECKSUM_BYTES]
        if status in (Status.CHECKSUM, Status.OPCODE):  # of what we sent, something else came
            raise _Disturbed("the board saw a wrong checksum")
        if tag != self._tag:
            raise _Disturbed("an answer to an earlier request came")
        if status == Status.OK:
            return payload
        what = "be a word's, within the memory" if status == Status.ADDRESS else "be a register that allows it"
        raise BoardError(f"Address {address:#010x} of {opcode.name} with {words} words must {what}")

    def _read(self, count: int, before: int) -> bytes:
        """The answer's next bytes; `before` are still on their way to the board."""
        found = self._port.read(count, self.timeout + (count + before) * self.byte_seconds)
        if not found and before:
            raise _Disturbed(_SILENCE)
        if len(found) < count:
            raise _Disturbed(f"{len(found)} bytes of {count} came")
        return found


_SILENCE = "no answer came"
