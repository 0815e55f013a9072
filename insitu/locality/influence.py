"""How far a field model sees: the cells around a point that the model's value there depends on."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.locality.layers import Span, Spans, spans_of

__all__ = ["Influence", "check_influence", "influence_of", "stages_of"]


@dataclass(frozen=True)
class Influence:
    """What the values of a module depend on.

    Attributes
    ----------
    module : torch.nn.Module
        Maps fields (batch, channels, *points) to fields of the same points.
    cells : tuple of int or float
        Along each axis, the distance to the farthest cell that a value depends on; infinite where
        nothing bounds it.
    wraps : tuple of frozenset of bool
        Along each axis, how the module goes on beyond the ends: True, with the other end (circular
        padding); False, by a rule of its own. Both, where its layers differ; neither, where nothing
        tells.
    reason : str
        Which layer has no bound and why; empty where all have one.
    """

    module: nn.Module
    cells: tuple[int | float, ...]
    wraps: tuple[frozenset[bool], ...]
    reason: str = ""


def influence_of(module: nn.Module, axes: int) -> Influence:
    """Return how far a module sees.

    Known are convolutions and pooling of stride 1, padding, pointwise activations, dropout and
    batch normalisation in evaluation, and what `torch.nn.Sequential` makes of them. Any module may
    state its own ``influence`` in cells, one number or one for each axis, `math.inf` for all of the
    axis, or a part of it that sees as far as the whole, as the branch of a residual block does. It
    is believed; `check_influence` tries it.

    Parameters
    ----------
    module : torch.nn.Module
    axes : int
        Axes of the grid.

    Raises
    ------
    ValueError
        A stated influence is no number of cells.
    """
    stages = stages_of(module, axes)
    cells = tuple(sum(stage.cells[axis] for stage in stages) for axis in range(axes))
    wraps = tuple(frozenset().union(*(s.wraps[axis] for s in stages)) for axis in range(axes))
    return Influence(module, cells, wraps, next((s.reason for s in stages if s.reason), ""))


def stages_of(module: nn.Module, axes: int) -> list[Influence]:
    """Return the shortest runs of layers that keep a field's points; one after the other they are the module.

    See `influence_of` for the parameters and errors.
    """
    stages: list[Influence] = []
    layers: list[nn.Module] = []
    spans, reason = _nothing(axes), ""
    for name, layer in _layers(module):
        found = _spans(layer, axes)
        if isinstance(found, str):
            reason = reason or f"{_described(name, layer)} {found}"
            found = _everything(axes)
        elif any(span.high == math.inf for span in found):
            reason = reason or f"{_described(name, layer)} states that it depends on every cell"
        layers.append(layer)
        spans = tuple(_joined(*pair) for pair in zip(spans, found, strict=True))
        if not any(span.growth for span in spans):
            stages.append(_stage(layers, spans, reason))
            layers, spans, reason = [], _nothing(axes), ""
    if layers:
        growth = ", ".join(f"{span.growth:+g}" for span in spans)
        reason = reason or f"{type(module).__name__} changes the number of points by {growth}"
        stages.append(_stage(layers, _everything(axes), reason))
    return stages


@torch.no_grad()
def check_influence(
    module: nn.Module, field: Float[Tensor, "batch channels *points"], tries: int = 4, seed: int = 0
) -> tuple[int, ...]:
    """Change one cell of a field and look how far the output changes.

    What is found is a lower bound: a dependence that round-off or an inactive unit hides is not
    seen.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    field : Tensor
        (batch, channels, *points), something like what the module will see, on its device.
    tries : int
        Cells that are changed, one at a time, the middle one first.
    seed : int
        Of the choice of the others.

    Returns
    -------
    tuple of int
        The distance in cells along each axis, at most that of `influence_of`.

    Raises
    ------
    ValueError
        The output changes beyond the influence, or an axis is too short to tell.
    """
    points = field.shape[2:]
    stated = influence_of(module, len(points)).cells
    _require_room(points, stated)
    generator = torch.Generator().manual_seed(seed)
    found = torch.zeros(len(points), dtype=torch.int64)
    cell = torch.tensor([n // 2 for n in points])
    before = module(field)
    for _ in range(tries):
        changed = field.clone()
        changed[(..., *cell.tolist())] += 1 + field.abs().max()
        found = found.maximum(_distance(module(changed) - before, cell))
        cell = torch.cat([torch.randint(n, (1,), generator=generator) for n in points])
    measured = tuple(found.tolist())
    if any(far > cells for far, cells in zip(measured, stated, strict=True)):
        raise ValueError(
            f"influence: expected the output of {type(module).__name__} to change within {_listed(stated)} cells of a change in "
            f"its input, got {_listed(measured)}; correct its `influence`"
        )
    return measured


def _require_room(points: Iterable[int], stated: Iterable[int | float]) -> None:
    for axis, (n, cells) in enumerate(zip(points, stated, strict=True)):
        if n < 2 * cells + 3 and cells < math.inf:
            raise ValueError(
                f"influence: expected {2 * cells + 3:g} points or more along axis {axis} to see beyond {cells:g} cells, got {n}; "
                "give a larger field"
            )


def _distance(change: Tensor, cell: Tensor) -> Tensor:
    """Return how far from a cell a field changes along each axis, around the ends where that is nearer."""
    size = change.abs().amax(dim=(0, 1)).cpu()
    places = (size > 1e3 * torch.finfo(change.dtype).eps * size.max()).nonzero()
    if not len(places):
        return torch.zeros_like(cell)
    apart = (places - cell).abs()
    return apart.minimum(torch.tensor(size.shape) - apart).amax(dim=0)


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield what a module applies one after the other."""
    is_known = type(module).forward is nn.Sequential.forward and not hasattr(module, "influence")
    if is_known and isinstance(module, nn.Sequential):
        for number, layer in enumerate(module):
            yield from _layers(layer, f"{name}.{number}".lstrip("."))
    else:
        yield name, module


def _spans(layer: nn.Module, axes: int) -> Spans | str:
    """Return what a layer needs, by its own word where that is a part of it."""
    part = getattr(layer, "influence", None)
    if not isinstance(part, nn.Module):
        return spans_of(layer, axes)
    found = influence_of(part, axes)
    if found.reason:
        return f"sees as far as its part: {found.reason}"
    pairs = zip(found.cells, found.wraps, strict=True)
    return tuple(Span(-far, far, 0, wraps) for far, wraps in pairs)


def _stage(layers: list[nn.Module], spans: Spans, reason: str) -> Influence:
    module = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
    cells = tuple(max(abs(span.low), abs(span.high)) for span in spans)
    return Influence(module, cells, tuple(span.wraps for span in spans), reason)


def _joined(first: Span, second: Span) -> Span:
    return Span(
        first.low + second.low,
        first.high + second.high,
        first.growth + second.growth,
        first.wraps | second.wraps,
    )


def _nothing(axes: int) -> Spans:
    return (Span(),) * axes


def _everything(axes: int) -> Spans:
    return (Span(-math.inf, math.inf),) * axes


def _described(name: str, layer: nn.Module) -> str:
    return f"layer '{name}' ({type(layer).__name__})" if name else type(layer).__name__


def _listed(numbers: Iterable[int | float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
