"""AXI4 masters with one ID, INCR bursts and no optional attributes: their ports, as a signature or flat on a top.

Flat ports are named ``prefix_awaddr``, as board tools and test benches expect them; a signature's members, ``awaddr``.
"""

# pyright: basic
# Amaranth makes ports attributes at run time.

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["INCR", "connect_ports", "master_ports", "master_signature", "read_ports", "read_signature", "write_ports"]

INCR = 0b01  # AxBURST: every beat at the next address


def _request(channel: str, address_bits: int) -> dict[str, wiring.Member]:
    return {
        f"{channel}addr": Out(address_bits),
        f"{channel}len": Out(8),  # beats - 1
        f"{channel}size": Out(3),  # log2 of a beat's bytes
        f"{channel}burst": Out(2),
        f"{channel}valid": Out(1),
        f"{channel}ready": In(1),
    }


def _read(data_bits: int, address_bits: int) -> dict[str, wiring.Member]:
    response = {"rdata": In(data_bits), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1)}
    return _request("ar", address_bits) | response


def _write(data_bits: int, address_bits: int) -> dict[str, wiring.Member]:
    data = {"wdata": Out(data_bits), "wstrb": Out(data_bits // 8), "wlast": Out(1), "wvalid": Out(1), "wready": In(1)}
    return _request("aw", address_bits) | data | {"bresp": In(2), "bvalid": In(1), "bready": Out(1)}


def _prefixed(prefix: str, members: dict[str, wiring.Member]) -> dict[str, wiring.Member]:
    return {f"{prefix}_{name}": member for name, member in members.items()}


def read_ports(prefix: str, data_bits: int, address_bits: int) -> dict[str, wiring.Member]:
    """Ports of a master that only reads."""
    return _prefixed(prefix, _read(data_bits, address_bits))


def write_ports(prefix: str, data_bits: int, address_bits: int) -> dict[str, wiring.Member]:
    """Ports of a master that only writes."""
    return _prefixed(prefix, _write(data_bits, address_bits))


def master_ports(prefix: str, data_bits: int, address_bits: int) -> dict[str, wiring.Member]:
    """Ports of a master that reads and writes."""
    return write_ports(prefix, data_bits, address_bits) | read_ports(prefix, data_bits, address_bits)


def read_signature(data_bits: int, address_bits: int) -> wiring.Signature:
    """A master that only reads."""
    return wiring.Signature(_read(data_bits, address_bits))


def master_signature(data_bits: int, address_bits: int) -> wiring.Signature:
    """A master that reads and writes."""
    return wiring.Signature(_write(data_bits, address_bits) | _read(data_bits, address_bits))


def connect_ports(m: Module, top: wiring.Component, prefix: str, master: Any) -> None:
    """Wire a submodule's master interface to the flat ports of its `top`."""
    for name, member in master.signature.members.items():
        port, inner = getattr(top, f"{prefix}_{name}"), getattr(master, name)
        m.d.comb += port.eq(inner) if member.flow is Out else inner.eq(port)
