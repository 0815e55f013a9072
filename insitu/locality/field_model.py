"""The values of a field model on a rank's block, equal to those on the whole grid."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.locality.influence import Influence
from insitu.locality.plans import Plan, is_wrapped, plan_of, reach_of
from insitu.locality.surroundings import Surroundings
from solver import Block, Device, Grid

__all__ = ["FieldModel"]


class FieldModel:
    """A torch module for fields, whose values may depend on cells of other ranks.

    Where ranks share the grid, each evaluates the module on its block and the cells around it that
    the module sees: for all layers at once (a wide halo, one exchange), or layer by layer (staged,
    an exchange before each). Around an axis that is not cut, and beyond a side of the grid, the
    module's own padding holds as on one rank. Values stay on the device, see `solver.Halo`.

    Parameters
    ----------
    module : torch.nn.Module
        Maps (batch, channels, *points) to (batch, channels', *points), whatever the points; see
        `influence_of` for what may be in it. It is used in place, and no gradients are recorded.
    device : Device
        Of the fields and the module.
    grid : Grid
        This rank's block, as `Simulation.grid`. All ranks that share the grid make the same calls.
    staged : bool, optional
        Whether to go layer by layer; where it is left out, what should take less time.

    Raises
    ------
    ValueError
        The module may depend on every cell of an axis that ranks share, or pads such an axis in
        different ways at once.
    """

    def __init__(self, module: nn.Module, device: Device, grid: Grid, staged: bool | None = None):
        self.module, self.staged = module, staged
        self._device, self._grid = device, grid
        self._plans: dict[tuple[bool, int], Plan] = {}
        self._surroundings: dict[tuple, Surroundings] = {}
        if isinstance(grid, Block):
            self._plan(grid, 1)

    @torch.no_grad()
    def __call__(
        self, field: Float[Tensor, "*any"], into: Float[Tensor, "*all"] | None = None
    ) -> Float[Tensor, "*all"]:
        """Evaluate the module on this rank's block.

        Parameters
        ----------
        field : Tensor
            ([batch,] channels, *points) of the block, as ``as_torch(simulation.u)``.
        into : Tensor, optional
            Where to write the result, as ``as_torch(simulation.fields["forcing"])``.

        Returns
        -------
        Tensor
            ([batch,] channels', *points) of the block, on the device: `into`, or new memory.

        Raises
        ------
        ValueError
            The field is none of this block, the module changes the number of points, or the result
            does not fit into `into`.
        TypeError
            Values between ranks are neither float32 nor float64.
        """
        points = self._grid.points
        has_batch = field.ndim == len(points) + 2
        if field.ndim - has_batch - 1 != len(points) or field.shape[-len(points) :] != points:
            raise ValueError(
                f"field model: expected the values of this rank's block, ([batch,] channels, {_listed(points)}), got shape "
                f"({_listed(field.shape)}); pass them"
            )
        values = field if has_batch else field[None]
        values = self._evaluate(values.detach())
        result = values if has_batch else values[0]
        if into is None:
            return result.clone() if _is_same_memory(result, field) else result
        if into.shape != result.shape:
            raise ValueError(
                f"field model: expected room for a result of shape ({_listed(result.shape)}), got ({_listed(into.shape)}); "
                "change `into` or the module's output channels"
            )
        return into.copy_(result)

    def _evaluate(self, values: Tensor) -> Tensor:
        if not isinstance(self._grid, Block):
            return _output(self.module, values)
        for stage in self._plan(self._grid, len(values)):
            values = self._stage(self._grid, stage, values)
        return values

    def _plan(self, block: Block, batch: int) -> Plan:
        key = self.module.training, batch
        if key not in self._plans:
            self._plans[key] = plan_of(self.module, block, self.staged, batch, self._device.is_host)
        return self._plans[key]

    def _stage(self, block: Block, stage: Influence, values: Tensor) -> Tensor:
        reach = reach_of(stage, block)
        if not reach:
            return _output(stage.module, values)
        copies = values.shape[0] * values.shape[1]
        key = is_wrapped(stage, block), reach, copies, values.dtype
        if key not in self._surroundings:
            self._surroundings[key] = Surroundings(self._device, block, *key)
        surroundings = self._surroundings[key]
        around = surroundings.of(values)
        output = _output(stage.module, around)[surroundings.inside]
        return output.clone(memory_format=torch.contiguous_format)


def _output(module: nn.Module, values: Tensor) -> Tensor:
    result = module(values)
    if result.shape[2:] != values.shape[2:]:
        raise ValueError(
            f"field model: expected {type(module).__name__} to keep the points ({_listed(values.shape[2:])}) of its input, got "
            f"({_listed(result.shape[2:])}); pad it"
        )
    return result


def _is_same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
