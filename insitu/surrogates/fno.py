"""A Fourier neural operator: layers that multiply the lowest Fourier modes, in one to three dimensions."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["FNO", "SpectralConvolution"]

_POINTWISE = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class FNO(nn.Module):
    """Global core of a surrogate: lifting, layers v ← σ(W v + K v) with K in Fourier space, projection.

    The weights do not depend on the points: the same network serves finer and coarser grids. Beyond
    the high side of an axis that is not periodic come `margin` zeros, and such an axis adds its
    coordinate, 0 to 1, as a channel; where all axes are periodic, a shift of the field shifts the
    result. Every value depends on every cell, so `insitu.FieldModel` refuses it on blocks.

    Parameters
    ----------
    axes : int
        Of the grid, 1 to 3.
    inputs : int
        Channels: components and parameters of the surrogate.
    outputs : int
        Channels: components of the surrogate.
    is_periodic : bool or sequence of bool
        Of all axes or of each.
    modes : int or sequence of int
        Fourier modes 0 … modes − 1 that are kept along all axes or along each, and their conjugates.
    width : int
        Channels inside.
    layers : int
        Of the form above.
    margin : float
        Length of the zeros, in lengths of the axis.

    Raises
    ------
    ValueError
        A value is out of its range.

    Notes
    -----
    Source: Li et al. 2021, "Fourier neural operator for parametric partial differential equations",
    arXiv:2010.08895.
    """

    influence = math.inf

    def __init__(
        self,
        axes: int,
        inputs: int,
        outputs: int,
        is_periodic: bool | Sequence[bool] = True,
        modes: int | Sequence[int] = 16,
        width: int = 32,
        layers: int = 4,
        margin: float = 0.125,
    ):
        super().__init__()
        modes = (modes,) * axes if isinstance(modes, int) else tuple(modes)
        self.is_periodic = (
            (is_periodic,) * axes if isinstance(is_periodic, bool) else tuple(is_periodic)
        )
        _require(axes in _POINTWISE, "axes", "1, 2 or 3", axes)
        _require(len(self.is_periodic) == axes, "is_periodic", f"{axes} entries", is_periodic)
        _require(len(modes) == axes, "modes", f"{axes} entries", modes)
        _require(margin >= 0, "margin", ">= 0", margin)
        sizes = {"inputs": inputs, "outputs": outputs, "width": width, "layers": layers}
        for name, value in {**sizes, "modes": min(modes)}.items():
            _require(value >= 1, name, ">= 1", value)
        self.margin = margin
        pointwise = _POINTWISE[axes]
        coordinates = axes - sum(self.is_periodic)
        self.lifting = pointwise(inputs + coordinates, width, 1)
        self.spectral = nn.ModuleList(SpectralConvolution(width, modes) for _ in range(layers))
        self.local = nn.ModuleList(pointwise(width, width, 1) for _ in range(layers))
        last = pointwise(4 * width, outputs, 1)
        for values in last.parameters():
            nn.init.zeros_(values)
        self.projection = nn.Sequential(pointwise(width, 4 * width, 1), nn.GELU(), last)

    def forward(
        self, values: Float[Tensor, "batch channels *points"]
    ) -> Float[Tensor, "batch outputs *points"]:
        """Map (batch, inputs, *points) to (batch, outputs, *points), on the device and in the dtype of the weights.

        Raises
        ------
        ValueError
            An axis has too few points for its modes.
        """
        points = values.shape[2:]
        values = self.lifting(torch.cat([values, *self._coordinates(values)], dim=1))
        around = [
            0 if periodic else math.ceil(self.margin * n)
            for n, periodic in zip(points, self.is_periodic, strict=True)
        ]
        values = nn.functional.pad(values, [w for width in reversed(around) for w in (0, width)])
        for number, (spectral, local) in enumerate(zip(self.spectral, self.local, strict=True)):
            values = spectral(values) + local(values)
            if number + 1 < len(self.spectral):
                values = nn.functional.gelu(values)
        for axis, n in enumerate(points):
            values = values.narrow(2 + axis, 0, n)
        return self.projection(values)

    def _coordinates(self, values: Tensor) -> list[Tensor]:
        """Return a channel for each axis that is not periodic: the position along it."""
        points, channels = values.shape[2:], []
        for axis, periodic in enumerate(self.is_periodic):
            if not periodic:
                n = points[axis]
                along = (torch.arange(n, dtype=values.dtype, device=values.device) + 0.5) / n
                along = along.reshape(n, *(1,) * (len(points) - axis - 1))
                channels.append(along.expand(len(values), 1, *points))
        return channels


class SpectralConvolution(nn.Module):
    """Multiply the lowest Fourier coefficients with a matrix for each: v̂_o(k) = Σ_i R_io(k) v̂_i(k).

    Weights are real and imaginary parts in one real tensor, so that `Module.to`, optimizers and
    messages between ranks treat them as any other.

    Parameters
    ----------
    width : int
        Channels.
    modes : sequence of int
        |k| < modes along each axis.
    """

    def __init__(self, width: int, modes: Sequence[int]):
        super().__init__()
        self.modes = tuple(modes)
        kept = [2 * m - 1 for m in self.modes[:-1]] + [self.modes[-1]]
        self.weight = nn.Parameter(torch.randn(width, width, *kept, 2) / (width * math.sqrt(2)))

    def forward(
        self, values: Float[Tensor, "batch channels *points"]
    ) -> Float[Tensor, "batch channels *points"]:
        """Map (batch, width, *points) to the same shape, dtype and device.

        Raises
        ------
        ValueError
            An axis has 2 · modes − 2 points or fewer: its highest mode would not be seen apart from its conjugate.
        """
        points = values.shape[2:]
        for axis, (n, modes) in enumerate(zip(points, self.modes, strict=True)):
            if n < 2 * modes - 1:
                raise ValueError(
                    f"FNO: expected {2 * modes - 1} points or more for {modes} modes along axis {axis}, got {n}; keep fewer modes"
                )
        axes = tuple(range(-len(points), 0))
        spectrum = torch.fft.rfftn(values, dim=axes, norm="forward")
        kept = self._kept(values.device)
        product = torch.einsum(
            "bi...,io...->bo...", spectrum[kept], torch.view_as_complex(self.weight)
        )
        result = torch.zeros_like(spectrum)
        result[kept] = product
        if len(axes) > 1:
            result = torch.fft.ifftn(result, dim=axes[:-1], norm="forward")
        mean = result[..., :1].real.to(result.dtype)
        result = torch.cat([mean, result[..., 1:]], dim=-1)
        return torch.fft.irfft(result, n=points[-1], norm="forward")

    def _kept(self, device: torch.device) -> tuple:
        """Return the places of the kept modes in a spectrum, k = 0 … and −… −1, of the last axis k >= 0 alone."""
        places: list = [slice(None), slice(None)]
        for axis, modes in enumerate(self.modes):
            is_last = axis == len(self.modes) - 1
            along = torch.arange(0 if is_last else 1 - modes, modes, device=device)
            places.append(along.reshape(-1, *(1,) * (len(self.modes) - 1 - axis)))
        return tuple(places)


def _require(valid: bool, name: str, expected: str, got: object) -> None:
    if not valid:
        raise ValueError(f"FNO: expected {name} = {expected}, got {got}; correct it")
