"""What cannot be trained bit by bit, said before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from accelsim.errors import InputError
from accelsim.graph.ir import Graph
from accelsim.program.program import Program
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine
from accelsim.train.bittrue.ops import SUPPORTED
from accelsim.train.bittrue.words import is_number
from accelsim.words import ROLES

_MANY = 6
_CARRIED_OUT = {"fusion": ("none", "epilogue"), "depthwise": ("array",), "dgrad": ("zero-insert",)}


def check_graph(graph: Graph) -> None:
    """Refuse a network with ops that are not carried out.

    Raises:
        InputError: naming them, and the layers that they are in.
    """
    unknown = [op for op in graph.ops if op.aten not in SUPPORTED]
    if unknown or graph.unsupported:
        counts = Counter(op.aten for op in unknown) + Counter({u.aten: u.count for u in graph.unsupported})
        layers = {op.aten: op.layer for op in reversed(unknown)}
        told = [
            f"{n} x {name}" + (f" (the first in {layers[name]})" if layers.get(name) else "")
            for name, n in sorted(counts.items())
        ]
        more = f" and {len(told) - _MANY} more" if len(told) > _MANY else ""
        known = ", ".join(sorted(name.split(".")[1] for name in SUPPORTED))
        raise InputError(
            f"{graph.name}: --bit-true cannot carry out {', '.join(told[:_MANY])}{more}; it knows {known}. "
            "Train with the statistical profile instead (without --bit-true)"
        )


def check_machine(machine: Machine, protect: Sequence[str] = ()) -> None:
    """Refuse a machine whose cells do what is not modelled bit by bit, or that has none that err.

    Args:
        protect: Bit fields that lie in a safe place.

    Raises:
        InputError: naming the bank group and its key.
    """
    erring = [b for b in machine.banks.values() if b.device is not None]
    if not erring:
        raise InputError(
            f"{machine.name}: no bank group of this machine names a device, so that no bit can flip; "
            "--set bank.NAME.device=mram-26us gives it one"
        )
    split = next((role for role in ROLES if machine.fields_of(role)), None)
    if split is not None:
        raise InputError(
            f"{machine.name}: --bit-true does not model tensors that are split by bit fields: give "
            f"placement.{split} a list of bank groups, or train without --bit-true"
        )
    choices = machine.mapping
    for key, value in (
        ("fusion", choices.fusion),
        ("depthwise", choices.depthwise),
        ("dgrad", choices.dgrad),
    ):
        if value not in _CARRIED_OUT[key]:
            known = " or ".join(f'"{v}"' for v in _CARRIED_OUT[key])
            raise InputError(
                f'{machine.name}: --bit-true does not carry out mapping.{key} = "{value}"; set it to {known}'
            )
    for bank in erring:
        lacking = _lacking(bank, protect)
        if lacking:
            raise InputError(f"{machine.name}: bank.{bank.name}: --bit-true does not model {lacking}")


def _lacking(bank: BankGroup, protect: Sequence[str]) -> str:
    assert bank.device is not None
    if bank.ecc is not None and protect:
        return "--protect beside ecc; leave one of them out"
    if bank.ecc is not None and (bank.ecc.data_bits, bank.ecc.check_bits) != (64, 8):
        return f"an ecc_word of {bank.ecc.data_bits} bits: set it to 64 bit"
    if bank.refresh_ps:
        return "refresh; leave refresh_interval out"
    if bank.device.overdrive_sigma:
        return "a spread of the overdrive over cells; set the device's write_overdrive_sigma to 0"
    return ""


def check_program(machine: Machine, program: Program) -> None:
    """Refuse a program that keeps partial sums, or formats without flips, where cells err.

    Raises:
        InputError: naming the op and the bank group.
    """
    if machine.layout != "along":
        raise InputError(
            f"{machine.name}: --bit-true knows tensors in torch's order only; set scratchpad.layout = "
            '"along"'
        )
    for kernel in program.kernels:
        region = kernel.psum.region if kernel.psum else None
        if region is not None and machine.banks[region.group].device is not None:
            raise InputError(
                f"{machine.name}: {kernel.leader.op} spills partial sums to bank.{region.group}, where bits "
                "are lost; --bit-true does not model errors in partial sums: name another group in "
                "accumulator.overflow, or give the accumulator more capacity"
            )
        for binding in (*kernel.reads, *kernel.writes):
            stored = binding.data.element_format
            if stored == "int8" or (
                not is_number(stored) and binding.data.role not in ("input", "activation")
            ):
                raise InputError(
                    f"{machine.name}: {binding.data.tensor} is stored as {stored}; --bit-true stores fp32, "
                    "bf16 and fp16: set format." + binding.data.role
                )
