"""What single layers of a network need around a point, from their settings."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

__all__ = ["Span", "Spans", "spans_of"]


class Span(NamedTuple):
    """What a value needs along one axis.

    Attributes
    ----------
    low, high : int or float
        The first and the last point that it depends on, counted from its own.
    growth : int
        Points that the output has more than the input.
    wraps : frozenset of bool
        How the layer goes on beyond the ends: True, with the other end; False, by a rule of its own.
    """

    low: int | float = 0
    high: int | float = 0
    growth: int = 0
    wraps: frozenset[bool] = frozenset()


Spans = tuple[Span, ...]
Rule = Callable[[Any, int], Spans | str]


def spans_of(layer: nn.Module, axes: int) -> Spans | str:
    """Return what a layer needs along each axis of a grid, or why nobody can say.

    Raises
    ------
    ValueError
        The layer states an ``influence`` that is no number of cells.
    """
    if hasattr(layer, "influence"):
        return _stated(layer, axes)
    rule = _RULES.get(type(layer))
    if rule is None:
        return "may depend on every cell"
    spans = rule(layer, axes)
    if not isinstance(spans, str) and len(spans) != axes:
        return f"is made for {len(spans)} axes, the grid has {axes}"
    return spans


def _stated(layer: nn.Module, axes: int) -> Spans:
    """Return the influence that a module states, with the padding of what it consists of."""
    stated: Any = layer.influence
    cells = tuple(stated) if isinstance(stated, tuple | list) else (stated,) * axes
    if len(cells) != axes or not all(_is_distance(each) for each in cells):
        raise ValueError(
            f"influence of {type(layer).__name__}: expected cells of 0 or more, one number or one for each of {axes} axes, got "
            f"{stated!r}; correct it"
        )
    rules = [(part, _RULES.get(type(part))) for part in layer.modules()]
    inside = [rule(part, axes) for part, rule in rules if rule]
    known = [spans for spans in inside if not isinstance(spans, str) and len(spans) == axes]
    return tuple(
        Span(-far, far, 0, frozenset().union(*(spans[axis].wraps for spans in known)))
        for axis, far in enumerate(cells)
    )


def _is_distance(cells: Any) -> bool:
    is_number = isinstance(cells, int | float) and not isinstance(cells, bool)
    return is_number and cells >= 0 and (cells == math.inf or cells == int(cells))


def _window(kernel: int, dilation: int, before: int, after: int, wraps: bool) -> Span:
    """Return what a window needs that slides over ``before`` and ``after`` points of padding too."""
    reach = dilation * (kernel - 1)
    filled = frozenset([wraps] if before or after else [])
    return Span(-before, reach - before, before + after - reach, filled)


def _convolution(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, axes: int) -> Spans | str:
    if set(layer.stride) != {1}:
        return f"has stride {layer.stride}"
    padding: Any = layer.padding
    spans = []
    for axis, (kernel, dilation) in enumerate(zip(layer.kernel_size, layer.dilation, strict=True)):
        reach = dilation * (kernel - 1)
        named = {"same": (reach // 2, reach - reach // 2), "valid": (0, 0)}
        before, after = named[padding] if isinstance(padding, str) else (padding[axis],) * 2
        spans.append(_window(kernel, dilation, before, after, layer.padding_mode == "circular"))
    return tuple(spans)


def _pooling(layer: Any, axes: int) -> Spans | str:
    settings = (layer.kernel_size, getattr(layer, "dilation", 1), layer.padding, layer.stride)
    *window, stride = (each if isinstance(each, tuple) else (each,) * axes for each in settings)
    if set(stride) != {1}:
        return f"has stride {layer.stride}"
    return tuple(_window(k, d, p, p, False) for k, d, p in zip(*window, strict=True))


def _padding(layer: Any, axes: int) -> Spans:
    wraps = type(layer).__name__.startswith("Circular")
    pairs = zip(layer.padding[::2], layer.padding[1::2], strict=True)
    return tuple(_window(1, 1, before, after, wraps) for before, after in pairs)[::-1]


def _pointwise(layer: nn.Module, axes: int) -> Spans:
    return (Span(),) * axes


def _normalisation(layer: Any, axes: int) -> Spans | str:
    if layer.training or layer.running_mean is None:
        return "normalises over the grid unless it has running statistics and is in evaluation"
    return _pointwise(layer, axes)


def _dropout(layer: nn.Module, axes: int) -> Spans | str:
    return "draws at random in training" if layer.training else _pointwise(layer, axes)


_KINDS: dict[Rule, str] = {
    _convolution: "Conv1d Conv2d Conv3d",
    _pooling: "AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d",
    _padding: "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d "
    "ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d",
    _pointwise: "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid Mish PReLU ReLU ReLU6 "
    "SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink Threshold",
    _normalisation: "BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d InstanceNorm3d",
    _dropout: "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d",
}
_RULES: dict[type, Rule] = {
    getattr(nn, name): rule for rule, names in _KINDS.items() for name in names.split()
}
