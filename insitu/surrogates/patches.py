"""A core whose training is one least-squares fit: a polynomial of what the field looks like around each point."""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.surrogates.reduced import leading_modes, split_of
from insitu.surrogates.ridge import Normal, choose_ridge, monomial_count, monomials

__all__ = ["PatchCore"]

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_SAMPLES = 1 << 14  # points whose features are held at once
_FEW = 1 << 12  # patches whose modes are taken


class PatchCore(nn.Module):
    """The increment of a field at each point as a polynomial of the leading modes of the patch around it.

    z = Vᵀ(patch − mean patch), with the r leading modes of the patches of the training inputs. Local, and the same at every
    point: what is learnt holds on ranks, and for fields that never were there as long as their patches were.

    Parameters
    ----------
    components, axes : int
        Of the fields.
    reach : int
        Points of a patch beyond its middle along each axis.
    rank : int
        r.
    degree : int
        Of the polynomial.
    padding : {"circular", "replicate"}
        What stands beyond the ends of the field.

    Raises
    ------
    ValueError
        The rank does not lie between 1 and the values of a patch, or the degree is below 1.
    """

    coefficients: Tensor

    def __init__(
        self,
        components: int,
        axes: int,
        reach: int,
        rank: int,
        degree: int = 2,
        padding: Literal["circular", "replicate"] = "circular",
    ):
        super().__init__()
        values = components * (2 * reach + 1) ** axes
        if not 1 <= rank <= values or degree < 1:
            raise ValueError(
                f"patch core: expected a rank from 1 to {values} and a degree of 1 or more, got {rank}, {degree}; correct them"
            )
        self.degree = degree
        self.encoder = _CONVOLUTIONS[axes](
            components,
            rank,
            2 * reach + 1,
            padding=reach,
            padding_mode=padding,
            dtype=torch.float64,
        ).requires_grad_(False)
        nn.init.zeros_(self.encoder.weight)
        shape = (monomial_count(rank, degree), components)
        self.register_buffer("coefficients", torch.zeros(shape, dtype=torch.float64))

    @property
    def influence(self) -> nn.Module:
        """The part that sees as far as the whole, see `insitu.locality.influence_of`."""
        return self.encoder

    def forward(
        self, fields: Float[Tensor, "batch components *points"]
    ) -> Float[Tensor, "batch components *points"]:
        """Return the increments of dimensionless fields."""
        found = monomials(self._encoded(fields), self.degree) @ self.coefficients
        found = found.view(len(fields), *fields.shape[2:], -1).movedim(-1, 1)
        return found.to(fields.dtype).contiguous()

    @torch.no_grad()
    def fit(
        self,
        inputs: Float[Tensor, "pairs components *points"],
        increments: Float[Tensor, "pairs components *points"],
        held_out: float = 0.25,
    ) -> float:
        """Fit modes and coefficients to pairs; see `ReducedCore.fit`."""
        split = split_of(len(inputs), held_out)
        self._fit_modes(inputs)
        fitted, held = (
            _summed(self._samples(inputs[part], increments[part]))
            for part in (slice(0, split), slice(split, None))
        )
        size = increments[split:].double().square().sum()

        def loss(coefficients: Tensor) -> Tensor:
            product = held.matrix @ coefficients - 2 * held.right
            return (coefficients * product).sum() + size

        found, least = choose_ridge(fitted, fitted + held, loss)
        self.coefficients.copy_(found)
        return float(max(least, 0.0) / size) ** 0.5

    def _fit_modes(self, inputs: Tensor) -> None:
        """Write the modes of some of the patches into the encoder."""
        kernel, axes = self.encoder.kernel_size, inputs.ndim - 2
        reach = [kernel[0] // 2] * (2 * axes)
        mode = self.encoder.padding_mode
        patches = nn.functional.pad(inputs.double(), reach, mode=mode)
        for axis in range(axes):
            patches = patches.unfold(2 + axis, kernel[axis], 1)
        patches = patches.movedim(1, 1 + axes)
        number = inputs.shape[0] * inputs.shape[2:].numel()
        chosen = torch.linspace(0, number - 1, min(number, _FEW), dtype=torch.float64).long()
        places = torch.unravel_index(chosen, (len(inputs), *inputs.shape[2:]))
        rows = patches[places].flatten(1)
        mean = rows.mean(0)
        modes, sizes = leading_modes(rows - mean, len(self.encoder.weight))
        weights = modes / sizes[:, None]
        self.encoder.weight.copy_(weights.view(self.encoder.weight.shape))
        self.encoder.get_parameter("bias").copy_(-weights @ mean)

    def _encoded(self, fields: Tensor) -> Tensor:
        return self.encoder(fields.to(self.coefficients.dtype)).movedim(1, -1).flatten(0, -2)

    def _samples(self, inputs: Tensor, increments: Tensor) -> Iterator[Normal]:
        step = max(1, _SAMPLES // inputs.shape[2:].numel())
        for x, y in zip(inputs.split(step), increments.split(step), strict=True):
            targets = y.to(self.coefficients.dtype).movedim(1, -1).flatten(0, -2)
            yield Normal.of(monomials(self._encoded(x), self.degree), targets)


def _summed(normals: Iterator[Normal]) -> Normal:
    total = next(normals)
    for each in normals:
        total += each
    return total
