# amaranth: UnusedElaboratable=no
"""Does a network train in the RTL as in the interpreter, the simulator and numpy: all bytes, cycles and counters?"""

from dataclasses import replace

import numpy as np
import pytest
from rtl_kit.require import need_rtl

need_rtl()

from machines import MACHINES, model_of  # noqa: E402

from dataflows.regions import read, write  # noqa: E402
from dataflows.split import split  # noqa: E402
from reports.studies.rtl_training.host import coefficients, initial_weights, load, loss_and_gradient  # noqa: E402
from reports.studies.rtl_training.machine import MACHINE  # noqa: E402
from reports.studies.rtl_training.network import Network, compiled_step  # noqa: E402
from reports.studies.rtl_training.numpy_model import NumpyModel  # noqa: E402
from reports.studies.rtl_training.train import same, train  # noqa: E402
from reports.studies.rtl_training.views import ImageView, golden, initial_image, rtl  # noqa: E402
from simulator.binary import program_of  # noqa: E402
from simulator.encoding import encode  # noqa: E402
from simulator.machine import run  # noqa: E402
from workloads.sparsity import DENSE, NM  # noqa: E402

STEPS = 3


def test_the_study_runs_on_a_machine_of_these_tests():
    assert MACHINES["fp16-3x4"] == MACHINE


@pytest.mark.parametrize("pattern", [DENSE, NM(2, 8)], ids=str)
def test_steps_of_training(pattern):
    """Real pictures, and every byte of the image after every program: activations, gradients, weights, momenta, copies."""
    network, digits = Network(pattern=pattern), load(0)
    step, weights = compiled_step(network, MACHINE), initial_weights(network, np.random.default_rng(1))
    machine = ImageView(step, initial_image(step, *weights), rtl(model_of("fp16-3x4")))
    wanted, by_numpy = ImageView(step, initial_image(step, *weights), golden(MACHINE)), NumpyModel(network, *weights)
    views, before = (machine, wanted, by_numpy), initial_image(step, *weights)
    for number in range(STEPS):
        batch, losses = slice(number * network.batch, (number + 1) * network.batch), []
        logits = [view.forward(digits.train_x[batch]) for view in views]
        same(logits, "logits")
        assert np.flatnonzero(machine.image != wanted.image).tolist() == []
        for view, each in zip(views, logits, strict=True):
            loss, gradient = loss_and_gradient(each, digits.train_y[batch], network.classes)
            losses.append(loss)
            view.backward(gradient, coefficients(network, number, STEPS))
        assert losses[0] == losses[1] == losses[2]
        assert np.flatnonzero(machine.image != wanted.image).tolist() == []
        states = [view.state() for view in views]
        assert states[0].keys() == states[2].keys()
        for name in states[0]:
            same([state[name] for state in states], name)
            assert not np.array_equal(states[0][name], read(before, step.placed.tensors[name]).reshape(states[0][name].shape))
        before = machine.image.copy()
        copies(machine)
    for part, program in (("forward", step.forward), ("backward", step.backward)):
        simulated = run(program_of(program), MACHINE)
        assert machine.ran[part] == [(simulated.cycles, simulated.counters)] * STEPS
        assert [counters for _, counters in wanted.ran[part]] == [simulated.counters] * STEPS


def copies(view):
    """The copies in memory are those of its weights."""
    fresh, found = view.image.copy(), 0
    for name, region in view.step.placed.tensors.items():
        parameter, _, what = name.partition(" ")
        if parameter in ("w1", "w2") and what not in ("master", "velocity"):
            write(fresh, region, view.state()[f"{parameter} master"].astype(np.float16))
            found += 1
    assert found == (2 if view.step.network.pattern == DENSE else 3)
    assert np.array_equal(fresh, view.image)


def test_the_first_program_ends_where_the_host_begins():
    """The parts are the whole program's commands in its order; tokens of the second count its own commands."""
    step = compiled_step(Network(pattern=NM(2, 8)), MACHINE)
    words = step.placed.words
    first, second = split(words, range(3))
    assert (encode(first), encode(second)) == (step.forward, step.backward)
    assert (*first[:-1], *(replace(word, waits={}) for word in second)) == (
        *words[: len(first) - 1],
        *(replace(word, waits={}) for word in words[len(first) - 1 :]),
    )
    whole = run(program_of(step.forward), MACHINE).cycles + run(program_of(step.backward), MACHINE).cycles
    assert whole > run(program_of(encode(words)), MACHINE).cycles


def test_the_comparison_bites():
    """A view whose weights are a bit off is found at the first logits that differ, or the weights."""
    network, digits = Network(pattern=NM(2, 8), batch=32), load(0)
    w1, w2 = initial_weights(network, np.random.default_rng(1))
    other = w1.copy()
    other[3, 5] = np.nextafter(other[3, 5], np.float32(1))
    with pytest.raises(AssertionError, match=r"(logits|master|velocity).* in view 0, .* in view 1"):
        train([NumpyModel(network, w1, w2), NumpyModel(network, other, w2)], network, digits, epochs=1, seed=0)


def test_the_host_adds_in_one_order():
    """However the logits lie in numpy's memory: sums in FP32 depend on it, and with them the gradient's rounding."""
    logits = np.random.default_rng(0).normal(size=(4096, 16)).astype(np.float16) * np.float16(3)
    labels = np.arange(len(logits)) % 10
    (loss, gradient), (other, same_gradient) = (
        loss_and_gradient(each, labels, 10) for each in (logits, np.asfortranarray(logits))
    )
    assert loss == other
    same([gradient, same_gradient], "gradient")
