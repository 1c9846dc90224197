"""Does a placed training step do between its GEMMs what numpy does, and are what the RTL has no opcode for refused?"""

from dataclasses import replace

import numpy as np
import pytest
from placed_kit import compiled, golden_operands, interpreted, random_operand, same_bits, small_machine

from dataflows.place import place
from dataflows.place_regions import kept_name
from dataflows.place_work import mask_name, master_name, second_name, velocity_name
from dataflows.regions import read
from simulator import schedule as cmd
from simulator.arithmetic import quantize, sgd_momentum
from simulator.binary import program_of
from simulator.encoding import Opcode, encode
from simulator.formats import FORMATS
from simulator.golden import execute
from simulator.interpreter import Registers
from simulator.machine import run
from simulator.optimizers import AdamCoefficients, adam, adam_coefficients
from simulator.schedule import Load, Multiply, Store, UnsupportedError
from simulator.vector_operations import VectorOperation, vector_operation
from workloads.gemm import Gemm, Operand, Phase, Role, Stage
from workloads.ops import OPTIMIZERS, Prune, Tensor, Update, Vector, VectorKind
from workloads.sparsity import NM, Producer

FF, BP, ONLINE = NM(2, 4), NM(1, 4), NM(4, 8)
P, I, O = 48, 24, 16  # noqa: E741
OPERATIONS = {
    "relu_": VectorOperation.RELU,
    "threshold_backward": VectorOperation.RELU_GRADIENT,
    "add": VectorOperation.ADD,
    "mul": VectorOperation.MULTIPLY,
    "scale": VectorOperation.SCALE,
    "clone": VectorOperation.COPY,
}


def product(name, stage, shape, a, b, c):
    m, n, k = shape
    return Gemm(name=name, layer="l", stage=stage, phase=Phase.FORWARD, m=m, n=n, k=k, a=a, b=b, c=c)


def plain(name):
    return Operand(tensor=name, role=Role.ACTIVATION)


def vector(operation, reads, out, elements=P * O, kind=VectorKind.MAP):
    tensors = tuple(Tensor(name, elements) for name in reads)
    return Vector(
        name=f"{operation} {out}", layer="l", phase=Phase.FORWARD, kind=kind, operation=operation, work=elements, reads=tensors,
        writes=(Tensor(out, elements),),
    )  # fmt: skip


def weight(pattern):
    return Operand(tensor="w", role=Role.WEIGHT, parameter="w", pattern=pattern, producer=Producer.UPDATE)


def update(**fields):
    plain_fields = {
        "name": "up", "parameter": "w", "elements": O * I, "optimizer": OPTIMIZERS["sgd-momentum"], "gradient": "dw",
        "prune": (("ff", FF), ("bp", BP)), "dense_copy": False, "decay": True,
    }  # fmt: skip
    return Update(**(plain_fields | fields))


def step():
    """Y = X W', H = relu(Y); dY = relu'(G, H); dX = dY W with the backward copy; dW = dY' X; E = pruned dY times U'."""
    return (
        product("ff", Stage.FF, (P, O, I), plain("x"), weight(FF), "y"),
        vector("relu_", ["y"], "h"),
        vector("threshold_backward", ["g", "h"], "dy"),
        vector("add", ["dy", "y"], "sum"),
        vector("mul", ["sum", "h"], "product"),
        vector("scale", ["product"], "scaled"),
        vector("clone", ["scaled"], "copied"),
        Prune(name="prune", layer="l", phase=Phase.BACKWARD, pattern=ONLINE, source=Tensor("dy", P * O), target="kept"),
        product("bp", Stage.BP, (P, I, O), plain("dy"), weight(BP), "dx"),
        product("wu", Stage.WU, (O, I, P), plain("dy"), plain("x"), "dw"),
        product(
            "online", Stage.AA, (P, 20, O),
            Operand(tensor="kept", role=Role.GRADIENT, pattern=ONLINE, producer=Producer.ONLINE), plain("u"), "e",
        ),
        update(),
    )  # fmt: skip


def with_adam(accelerator):
    return replace(accelerator, updater=replace(accelerator.updater, optimizers=("sgd-momentum", "adam")))


def operands(number, seed):
    rng = np.random.default_rng(seed)
    shapes = {"x": (P, I), "g": (P, O), "u": (20, O)}
    found = {name: random_operand(number, rng, shape) for name, shape in shapes.items()}
    master = rng.normal(size=(O, I)).astype(np.float32)
    master[rng.random((O, I)) < 0.1] = 0.0
    found["w"] = quantize(FORMATS[number], master)
    found[master_name("w")] = master.reshape(1, -1)
    found[velocity_name("w")] = rng.normal(size=(1, O * I)).astype(np.float32)
    found[second_name("w")] = np.square(rng.normal(size=(1, O * I))).astype(np.float32)
    found[mask_name("w")] = FF.mask(master).reshape(1, -1)
    return found


def by_numpy(number, program, placed, accelerator, given, registers):
    """The step operation by operation: GEMMs by the golden model, the rest by the units' own definitions."""
    tensors = dict(given)
    for op in program.ops:
        match op:
            case Gemm():
                index = program.ops.index(op)
                single = compiled(accelerator, op, dataflow=program.choices[index])
                tensors[op.c] = execute(single, golden_operands(placed, single, tensors), accelerator)[op.c][0]
            case Vector():
                reads = [tensors[tensor.name] for tensor in op.reads]
                result = vector_operation(FORMATS[number], OPERATIONS[op.operation], reads[0], reads[-1], 0.3)
                tensors[op.writes[0].name] = result
            case Prune():
                tensors[op.target] = tensors[op.source.name]
            case Update():
                state, gradient = [tensors[name("w")] for name in (master_name, velocity_name)], tensors["dw"].reshape(1, -1)
                mask = tensors[mask_name("w")]
                if op.optimizer.is_adam:
                    rates = AdamCoefficients(**{name: getattr(registers, name) for name in AdamCoefficients._fields})
                    *state, second, copy = adam(*state, tensors[second_name("w")], gradient, FORMATS[number], rates, mask)
                    tensors[second_name("w")] = second
                else:
                    *state, copy = sgd_momentum(
                        *state, gradient, FORMATS[number], lr=registers.lr, momentum=registers.momentum,
                        weight_decay=registers.weight_decay, mask=mask, decay=registers.decay,
                    )  # fmt: skip
                tensors |= {master_name("w"): state[0], velocity_name("w"): state[1], "w": copy.reshape(O, I)}
    return tensors


@pytest.mark.parametrize("number", ["fp16", "bf16"])
@pytest.mark.parametrize("slot_bytes", [32768, 8192])
@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adam", "adamw"])
def test_a_training_step(number, slot_bytes, optimizer):
    """Whole tensors in a plane, or in chunks; both compressed copies are made from the new weights, with the mask of SR-STE's
    decay, so that Adam's chunks fill all planes of a slot."""
    accelerator = with_adam(small_machine(number, rows=4, slot_bytes=slot_bytes))
    updated = step()[-1]
    ops = (*step()[:-1], replace(updated, optimizer=OPTIMIZERS[optimizer]))
    program = compiled(accelerator, *ops, fuse=False, wu="os", bp="ws")
    placed = place(program, accelerator, scalars={"scale scaled": 0.3})
    given, registers = operands(number, 5), Registers(lr=0.1, momentum=0.9, weight_decay=1e-2, decay=2e-2)
    if OPTIMIZERS[optimizer].is_adam:
        rates = adam_coefficients(2, lr=0.1, eps=1e-3, weight_decay=1e-2, decoupled_decay=2e-2, decay=2e-2)
        registers = Registers(**rates._asdict())
    assert (second_name("w") in placed.tensors) == (optimizer != "sgd-momentum")
    regions = {name: matrix for name, matrix in given.items() if " " not in name}
    whole = {name: matrix for name, matrix in given.items() if name in placed.tensors or " " not in name}
    image, counters = interpreted(placed, accelerator, regions, whole=whole, registers=registers)
    wanted = by_numpy(number, program, placed, accelerator, given, registers)
    for name, region in placed.tensors.items():
        if region.pattern is None:
            same_bits(read(image, region), wanted[name].reshape(region.rows, region.row_elements))
    for name, pattern, across in (("w", FF, False), ("w", BP, True), ("kept", ONLINE, False)):
        groups = wanted[name].T if across else wanted[name]
        kept = np.where(pattern.mask(groups), groups, groups.dtype.type(0))
        same_bits(
            np.ascontiguousarray(read(image, placed.tensors[kept_name(name, pattern, across=across)])),
            np.ascontiguousarray(kept.T if across else kept),
        )
    assert counters.updated_elements == O * I
    assert counters.pruned_elements == 2 * O * I + P * O
    assert counters.vector_operations == 6 * P * O
    chunks = sum(word.opcode is Opcode.UPDATE for word in placed.words)
    assert chunks == 1 if slot_bytes == 32768 else chunks > 1
    decoded = run(program_of(encode(placed.words)), accelerator)
    assert decoded.counters == counters
    assert len(list(program)) == counters.commands
    for compiled_command, got in zip(program, program_of(encode(placed.words)), strict=True):
        assert type(got) is type(compiled_command)
        same = (
            ["op", "slot", "engine", "waits"]
            if not isinstance(got, Multiply)
            else ["op", "a_slot", "b_slot", "c_slot", "waits"]
        )
        same += {
            cmd.Prune: ["elements", "pattern", "across"],
            cmd.Vector: ["work"],
            cmd.Update: ["elements", "masked", "adam", "second"],
        }.get(type(got), [])
        if isinstance(got, Load) or (isinstance(got, Store) and got.pattern is None):
            same += ["runs", "run_bytes", "plane"]
        assert [getattr(got, name) for name in same] == [getattr(compiled_command, name) for name in same]


def test_vector_work_on_integers():
    """int32 tensors; the scale makes them int8's numbers."""
    accelerator = small_machine("int8", slot_bytes=4096)
    program = compiled(accelerator, *step()[1:7], fuse=False)
    placed = place(program, accelerator, scalars={"scale scaled": 0.3})
    rng = np.random.default_rng(1)
    given = {name: rng.integers(-(2**31), 2**31, (1, P * O)).astype(np.int32) for name in ("y", "g")}
    given["y"][:, ::3] %= 100
    image, counters = interpreted(placed, accelerator, given)
    wanted = by_numpy("int8", program, placed, accelerator, given, Registers())
    for name, region in placed.tensors.items():
        same_bits(read(image, region), wanted[name])
    assert counters.vector_operations == 6 * P * O


def test_vector_work_takes_as_long():
    """Flat tensors: the decoded bytes run as the compiled program."""
    accelerator = small_machine(rows=4, slot_bytes=2048)
    program = compiled(accelerator, *step()[1:7], fuse=False)
    placed = place(program, accelerator, scalars={"scale scaled": 0.3})
    decoded = run(program_of(encode(placed.words)), accelerator, record_events=True)
    assert decoded == run(program, accelerator, record_events=True)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (vector("gelu", ["a"], "b"), r"vector operation 'gelu' \(map\) of 1 tensors"),
        (vector("relu+add", ["a", "c"], "b"), "vector operation 'relu[+]add'"),
        (vector("add", ["a", "c", "d"], "b"), "vector operation 'add' .* of 3 tensors"),
        (vector("add", ["a", "c"], "b", kind=VectorKind.NORM), r"vector operation 'add' \(norm\)"),
        (vector("scale", ["a"], "b"), "a scalar for vector operation 'scale b'"),
        (replace(vector("add", ["a", "c"], "b"), reads=(Tensor("a", P * O), Tensor("c", O))), "sizes of tensors of vector"),
        (update(prune=(), optimizer=OPTIMIZERS["adam"]), "optimizer 'adam' of 'up' in the RTL of an updater for sgd-mom"),
        (update(prune=(), optimizer=OPTIMIZERS["adamw"]), "optimizer 'adamw' of 'up'"),
        (update(prune=(), optimizer=OPTIMIZERS["sgd"]), "optimizer 'sgd' of 'up'"),
        (update(), "a row length for pruning down the rows in 'up'"),
        (update(prune=(("ff", FF),)), "regions of the compressed copy that 'up' makes"),
        (update(prune=(), mask_search=64), "vector operation 'mask_search' of 'up'"),
    ],
)
def test_what_the_units_do_not_do_is_refused(op, message):
    accelerator = small_machine(slot_bytes=32768)
    with pytest.raises(UnsupportedError, match=message):
        place(compiled(accelerator, op, fuse=False), accelerator)


def test_an_updater_for_adam_only_has_no_momentum():
    accelerator = small_machine(slot_bytes=32768)
    accelerator = replace(accelerator, updater=replace(accelerator.updater, optimizers=("adam",)))
    place(compiled(accelerator, update(prune=(), optimizer=OPTIMIZERS["adamw"]), fuse=False), accelerator)
    with pytest.raises(UnsupportedError, match="optimizer 'sgd-momentum' of 'up' in the RTL of an updater for adam"):
        place(compiled(accelerator, update(prune=()), fuse=False), accelerator)


def test_a_program_has_one_set_of_coefficients():
    accelerator = with_adam(small_machine(slot_bytes=32768))
    ops = (update(prune=()), update(name="other", parameter="v", gradient="dv", prune=(), optimizer=OPTIMIZERS["adam"]))
    with pytest.raises(UnsupportedError, match=r"optimizers in a program \(adam, sgd-momentum\), .* registers"):
        place(compiled(accelerator, *ops, fuse=False), accelerator)


def test_a_machine_without_adam_simulates_it():
    """The model of time has every optimizer; only its bytes are refused."""
    accelerator = small_machine(slot_bytes=32768)
    program = compiled(accelerator, update(prune=(), optimizer=OPTIMIZERS["adam"]), fuse=False)
    assert run(program, accelerator).counters.updated_elements == O * I


def test_integers_have_no_optimizer():
    accelerator = small_machine("int8", slot_bytes=32768)
    with pytest.raises(UnsupportedError, match="an optimizer for 'up' on a machine of integers"):
        place(compiled(accelerator, update(prune=())), accelerator)


def test_padded_rows_are_not_flat():
    """Rows of 10 bytes in bursts of 8: what the vector unit reads as one row has gaps."""
    accelerator = small_machine()
    ops = (product("ff", Stage.FF, (4, 5, 8), plain("x"), plain("u"), "y"), vector("relu", ["y"], "h", 20))
    with pytest.raises(UnsupportedError, match=r"bytes between the rows of tensor 'y'.*: needs 6, has 0"):
        place(compiled(accelerator, *ops), accelerator)


def test_chunks_that_split_a_row_of_a_copy_are_refused():
    """Planes of 64 bytes hold 16 weights, a row has 24."""
    accelerator = small_machine(slot_bytes=8192, rows=4)
    accelerator = replace(accelerator, work_buffer=replace(accelerator.work_buffer, bytes=2 * 512))
    ops = (step()[0], replace(step()[9], a=plain("g"), b=plain("x")), update(prune=(("ff", FF),), decay=False))
    with pytest.raises(UnsupportedError, match="elements beyond whole rows of 24 in a chunk of 'up'"):
        place(compiled(accelerator, *ops, wu="os"), accelerator)
