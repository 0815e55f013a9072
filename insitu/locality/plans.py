"""How a field model is evaluated where ranks share the grid: what is exchanged before which layers."""

import math

from torch import nn

from insitu.locality.influence import Influence, influence_of, stages_of
from solver import Block

__all__ = ["Plan", "is_wrapped", "plan_of", "reach_of"]

Plan = list[Influence]

_EXCHANGE = 1e-4  # seconds of an exchange, its launches and messages
_RATE = {True: 2e10, False: 5e12}  # multiplications a second, of a core and of a GPU


def plan_of(
    module: nn.Module, block: Block, staged: bool | None, batch: int, is_host: bool
) -> Plan:
    """Return the runs of layers that are evaluated one after the other, each with the cells around the block that it sees.

    Either all layers at once, or as few at a time as possible. A call that all ranks of the grid make together.

    Parameters
    ----------
    module : torch.nn.Module
    block : Block
        This rank's.
    staged : bool or None
        As few as possible; None: what should take less time.
    batch : int
        Fields at a time.
    is_host : bool
        Whether the module is evaluated by the host.

    Raises
    ------
    ValueError
        The module may depend on every cell of an axis that ranks share, or pads such an axis in different ways at once.
    """
    axes = len(block.points)
    whole = influence_of(module, axes)
    for axis in _cut(block):
        if whole.cells[axis] == math.inf:
            raise ValueError(
                f"field model: expected a bounded influence along axis {axis}, which ranks share, got none: {whole.reason}; "
                "state its `influence` in cells if it has one, cut other axes, or use one rank"
            )
    ways = {False: [whole], True: stages_of(module, axes)}
    wanted = [plan for key, plan in ways.items() if staged in (key, None)]
    plans = [plan for plan in wanted if all(_is_padded_alike(stage, block) for stage in plan)]
    if not plans:
        raise ValueError(
            "field model: expected layers that go on beyond the ends of an axis in one way, got circular and other padding of "
            "one that ranks share; pad it alike, leave `staged` out, or cut other axes"
        )
    seconds = [_seconds(plan, block, batch, is_host) for plan in plans]
    return plans[block.comm.bcast(seconds.index(min(seconds)))]


def reach_of(stage: Influence, block: Block) -> int:
    """Return how many cells of other ranks a stage sees in each direction."""
    return int(max(stage.cells[axis] for axis in _cut(block)))


def is_wrapped(stage: Influence, block: Block) -> tuple[bool, ...]:
    """Return along each axis whether a stage goes on with the other end: what its padding does, or else the grid."""
    return tuple(
        min(wraps, default=is_periodic)
        for wraps, is_periodic in zip(stage.wraps, block.is_periodic, strict=True)
    )


def _seconds(plan: Plan, block: Block, batch: int, is_host: bool) -> float:
    """Return about how long the largest block takes: a multiplication for each weight and point, and the exchanges."""
    ranks = block.decomposition.ranks
    largest = [-(-n // r) for n, r in zip(block.whole.points, ranks, strict=True)]
    seconds = 0.0
    for stage in plan:
        reach = reach_of(stage, block)
        around = [n + 2 * reach * (r > 1) for n, r in zip(largest, ranks, strict=True)]
        weights = sum(weight.numel() for weight in stage.module.parameters())
        seconds += batch * math.prod(around) * weights / _RATE[is_host] + (reach > 0) * _EXCHANGE
    return seconds


def _is_padded_alike(stage: Influence, block: Block) -> bool:
    return all(len(stage.wraps[axis]) < 2 for axis in _cut(block))


def _cut(block: Block) -> list[int]:
    return [axis for axis, is_cut in enumerate(block.is_cut) if is_cut]
