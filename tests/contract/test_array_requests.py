# amaranth: UnusedElaboratable=no
"""Does the array's RTL make the requests that `simulator.cost.array_actions` counts?"""

import pytest
from rtl_kit.require import need_rtl

need_rtl()

from array_model import Surroundings  # noqa: E402
from test_array import MACHINES, SLOW, bench, jobs_of  # noqa: E402

from simulator.cost.array_actions import port_requests  # noqa: E402

PORTS = {"row_request": "row", "column_request": "column", "sums_request": "sums", "results": "results"}


class Counting(Surroundings):
    def __init__(self, accelerator, jobs):
        super().__init__(accelerator, jobs)
        self.asked = dict.fromkeys(PORTS.values(), 0)

    def step(self, offered, outputs):
        for port, name in PORTS.items():
            layout, count = self.layouts[port]
            valid = layout["valid"].offset
            self.asked[name] += sum(outputs[port] >> (i * layout.size + valid) & 1 for i in range(count))
        return super().step(offered, outputs)


@pytest.mark.parametrize("name", [name for name in MACHINES if name not in SLOW])
def test_requests(name):
    accelerator = MACHINES[name]
    jobs = jobs_of(accelerator, 30, seed=7, largest=11)
    assert {job.what[0] for job in jobs} == set(accelerator.array.dataflows)
    for job in jobs:
        surroundings = Counting(accelerator, [job])
        bench(name).run(surroundings)
        want = port_requests(accelerator, job.what)
        assert surroundings.asked == {each: want[each] for each in PORTS.values()}, job.what
