# amaranth: UnusedElaboratable=no
"""Does a whole accelerator with on-chip memory do by its serial line what the other views say, to the byte and the cycle?"""

from dataclasses import replace

import pytest
from rtl_kit.require import need_rtl

need_rtl()

from machines import MACHINES  # noqa: E402
from system_run import Board, run_system  # noqa: E402

from dse.verify_programs import Case, cases  # noqa: E402
from rtl.emit import verilog_of  # noqa: E402
from rtl.system import System  # noqa: E402

PROGRAMS = ("os 5x7x8 2:8 of b", "ws 5x7x8 3:8 of a", "training step 6x8x8, 2:8, SR-STE decay")
BOARD = Board(
    accelerator=MACHINES["fp16-3x4"], memory_bytes=2048, program_bytes=3072, divisor=4, clock_hz=10**8, idle_cycles=1024
)


def verilog_of_board(board: Board) -> str:
    system = System(
        board.accelerator,
        memory_bytes=board.memory_bytes,
        program_bytes=board.program_bytes,
        divisor=board.divisor,
        wide_program=board.wide_program,
        clock_hz=board.clock_hz,
        idle_cycles=board.idle_cycles,
    )
    return verilog_of(system, "system")


@pytest.mark.parametrize("board", [BOARD, replace(BOARD, wide_program=False, divisor=7)], ids=["wide", "narrow"])
def test_host_programs_and_bad_requests(board: Board, tmp_path):
    """system_cocotb.py: a sparse GEMM and a training step, a bad line, bad requests, faults."""
    file = tmp_path / "system.v"
    file.write_text(verilog_of_board(board))
    found = {case.name: case for case in cases(board.accelerator, seed=3, large=False) if isinstance(case, Case)}
    run_system([file], "system", board, [found[name] for name in PROGRAMS], tmp_path)
