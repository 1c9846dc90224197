"""What to do about a point that can't run: who needs what it lacks, and the way out."""

__all__ = ["advice", "advised"]

_EXACT = {
    "updater.lanes": "weights are updated there: give it a lane or more",
    "vector.lanes": "the work between GEMMs is done there: give it a lane or more, or take mapping.vector=host",
    "pruner.lanes": "the method's operands are pruned there: give it a lane or more, or take a method that prunes nothing",
    "a, b and c bytes per slot for one tile": "enlarge the buffers, or give them fewer slots",
}
_BEGIN = {
    "pe.group for pattern": "a PE chooses within a group: enlarge pe.group, or take a pattern with a smaller M",
    "pe.registers for": "a PE keeps its stationary operand there: enlarge pe.registers, or take another dataflow",
    "dataflow ": "name it in array.dataflows, or take another with mapping.dataflow",
    **{f"{side}_buffer bytes": f"enlarge {side}_buffer.bytes, or give it fewer slots" for side in "abc"},
    **{
        f"{name} of ": "by estimate: a smaller or simpler machine, or a larger device in --fit"
        for name in ("lut", "ff", "dsp", "bram")
    },
}


def advice(constraint: str) -> str:
    """For the `constraint` of an `Unsupported`, or "" where it says all that there is."""
    return _EXACT.get(constraint) or next((text for begin, text in _BEGIN.items() if constraint.startswith(begin)), "")


def advised(said: str, constraint: str) -> str:
    """What is said of a refusal, with its `advice` behind."""
    way_out = advice(constraint)
    return f"{said} ({way_out})" if way_out else said
