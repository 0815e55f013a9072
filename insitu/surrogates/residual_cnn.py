"""A convolutional network whose value at a point depends on the points around it, in one to three dimensions."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ResidualBlock", "ResidualCNN"]

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_PADS: dict[bool, dict[int, type[nn.Module]]] = {
    True: {1: nn.CircularPad1d, 2: nn.CircularPad2d, 3: nn.CircularPad3d},
    False: {1: nn.ReplicationPad1d, 2: nn.ReplicationPad2d, 3: nn.ReplicationPad3d},
}


class ResidualCNN(nn.Sequential):
    """Local core of a surrogate: a convolution, residual blocks, a convolution.

    Periodic axes are padded with their other end, so that a shift of the field shifts the result;
    others with their last value. There is no normalisation over the grid: the network sees
    `(kernel // 2) (2 + 2 Σ dilations)` cells far and no farther, whatever the points, and
    `insitu.FieldModel` evaluates it on ranks' blocks. The last convolution begins at 0, so that an
    untrained surrogate leaves the state as it is.

    Parameters
    ----------
    axes : int
        Of the grid, 1 to 3.
    inputs : int
        Channels: components and parameters of the surrogate.
    outputs : int
        Channels: components of the surrogate.
    is_periodic : bool or sequence of bool
        Of all axes or of each, as `solver.Grid.is_periodic`.
    width : int
        Channels inside.
    kernel : int
        Points of a convolution along each axis, odd.
    dilations : sequence of int
        One block for each: the distance of the points that its convolutions see. What moves c cells
        in an interval needs a network that sees c cells far.

    Raises
    ------
    ValueError
        A value is out of its range.

    Notes
    -----
    Source: He, Zhang, Ren & Sun 2016, "Identity mappings in deep residual networks",
    doi:10.1007/978-3-319-46493-0_38; with dilations for PDEs Stachenfeld et al. 2022,
    arXiv:2112.15275.
    """

    def __init__(
        self,
        axes: int,
        inputs: int,
        outputs: int,
        is_periodic: bool | Sequence[bool] = True,
        width: int = 32,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 2, 4, 2, 1),
    ):
        periodic = (is_periodic,) * axes if isinstance(is_periodic, bool) else tuple(is_periodic)
        _require(axes in _CONVOLUTIONS, "axes", "1, 2 or 3", axes)
        _require(len(periodic) == axes, "is_periodic", f"{axes} entries", periodic)
        _require(kernel > 0 and kernel % 2 == 1, "kernel", "an odd number", kernel)
        _require(
            all(dilation >= 1 for dilation in dilations), "dilations", "numbers >= 1", dilations
        )
        for name, value in (("inputs", inputs), ("outputs", outputs), ("width", width)):
            _require(value >= 1, name, ">= 1", value)
        blocks = (ResidualBlock(width, kernel, dilation, periodic) for dilation in dilations)
        last = _convolution(width, outputs, kernel, 1, periodic)
        for values in last.parameters():
            nn.init.zeros_(values)
        super().__init__(_convolution(inputs, width, kernel, 1, periodic), *blocks, nn.GELU(), last)


class ResidualBlock(nn.Module):
    """u + f(u), with two convolutions in f, each behind a GELU.

    Parameters
    ----------
    width : int
        Channels.
    kernel, dilation : int
        Of the convolutions.
    is_periodic : sequence of bool
        Of each axis.
    """

    def __init__(self, width: int, kernel: int, dilation: int, is_periodic: Sequence[bool]):
        super().__init__()
        self.branch = nn.Sequential(
            nn.GELU(),
            _convolution(width, width, kernel, dilation, is_periodic),
            nn.GELU(),
            _convolution(width, width, kernel, dilation, is_periodic),
        )

    @property
    def influence(self) -> nn.Module:
        """The part that sees as far as the block, see `insitu.locality.influence_of`."""
        return self.branch

    def forward(
        self, values: Float[Tensor, "batch channels *points"]
    ) -> Float[Tensor, "batch channels *points"]:
        """Return u + f(u), as (batch, width, *points)."""
        return values + self.branch(values)


def _convolution(
    inputs: int, outputs: int, kernel: int, dilation: int, is_periodic: Sequence[bool]
) -> nn.Sequential:
    """Return a convolution that keeps the points, behind layers that pad each axis its own way."""
    axes, reach = len(is_periodic), dilation * (kernel // 2)
    pads: list[nn.Module] = []
    for wraps in sorted(set(is_periodic)):
        widths = [reach * (periodic == wraps) for periodic in reversed(is_periodic) for _ in "lh"]
        pads.append(_PADS[wraps][axes](tuple(widths)))
    return nn.Sequential(*pads, _CONVOLUTIONS[axes](inputs, outputs, kernel, dilation=dilation))


def _require(valid: bool, name: str, expected: str, got: object) -> None:
    if not valid:
        raise ValueError(f"residual CNN: expected {name} = {expected}, got {got}; correct it")
