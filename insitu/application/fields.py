"""The fields of an application: views of its memory as one state."""

import itertools
import math
from collections.abc import Sequence
from operator import mul
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from insitu.application.blocks import require_cover
from insitu.bridge import as_torch
from insitu.case_errors import CaseError
from insitu.collectives import together
from solver import (
    Device,
    Field,
    Grid,
    Memory,
    MemoryInUseError,
    Moment,
    Ranks,
    Share,
)

__all__ = ["Fields", "RegisteredField", "device_of"]


class RegisteredField(NamedTuple):
    """A field as the application registered it.

    Attributes
    ----------
    array
        What it registered.
    memory : Memory
        All of it, ghosts too, ``(components, *(points + 2 ghost))``; the application's own, wrapped in place.
    view : Tensor
        The own points, ``(components, *points)``, on the device.
    ghost : tuple of int
        Ghost points on each side of each axis.
    """

    array: Any
    memory: Memory
    view: Tensor
    ghost: tuple[int, ...]

    @property
    def has_moved(self) -> bool:
        """Whether the array's values are elsewhere now, as after ``tensor.data = other`` or ``tensor.resize_``."""
        address = _address_of(self.array)
        return address is not None and address != self.memory.pointer

    @classmethod
    def of(
        cls,
        name: str,
        device: Device,
        array: Any,
        components: int,
        points: Sequence[int],
        ghost: int | Sequence[int],
    ) -> "RegisteredField":
        """Show an application's array, in place.

        Raises
        ------
        CaseError
            Its shape is not that of the block, or its values are no floating-point numbers.
        """
        around = (ghost,) * len(points) if isinstance(ghost, int) else tuple(ghost)
        if components < 1 or len(around) != len(points) or min(around) < 0:
            raise CaseError(
                f"field {name} must have 1 component or more and 0 ghosts or more along each of {len(points)} axes, got "
                f"{components} and {ghost}; correct what is registered"
            )
        stored = tuple(n + 2 * g for n, g in zip(points, around, strict=True))
        memory = device.wrap(array)
        if not _is_laid_out(memory.shape, (components, *stored)) or memory.dtype.kind != "f":
            raise CaseError(
                f"field {name} must hold {components} x {' x '.join(map(str, stored))} float32 or float64 values (components, "
                f"points and ghosts of this rank's block, in this order), got {memory.dtype} of shape {tuple(memory.shape)}; "
                "correct what is registered"
            )
        if memory.shape != (components, *stored):
            memory = memory.reshape((components, *stored))
        inside = tuple(slice(g, g + n) for g, n in zip(around, points, strict=True))
        return cls(array, memory, as_torch(memory[(slice(None), *inside)]), around)


class BlockState(NamedTuple):
    """A state on a rank's block: shape ``(components, *points)`` and dtype of a value."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Fields:
    """The fields of an application as the state of a solution, see `insitu.solution.Solution`.

    A state has the components of all registered fields, in the order in which they were registered, ``(components, *points)``.

    Parameters
    ----------
    device : Device
        Where the application's memory is.
    grid : Grid
        This rank's block, or the whole grid.
    comm : mpi4py.MPI.Comm or None
        The application's ranks; all of them call this.
    equation
        Whose parameters a model may be given.

    Attributes
    ----------
    moved : str or None
        A field whose memory is gone, told by who can see it.

    Raises
    ------
    CaseError
        The blocks of the ranks do not cover the whole grid once.
    """

    members: None = None
    limit: None = None

    def __init__(self, device: Device, grid: Grid, comm: Any = None, equation: Any = None):
        self.device, self.grid, self.equation = device, grid, equation
        self.ranks = Ranks(comm)
        self.comm = comm if self.ranks.size > 1 else None
        self.share = Share(grid, 0, 0, 1)
        self.shares: list[dict[str, list[int]]] = self.ranks.all(self.share.as_numbers())
        require_cover(grid.whole, self.shares)
        self.registered: dict[str, RegisteredField] = {}
        self.target: RegisteredField | None = None
        self.dtype: np.dtype[Any] | None = None
        self.sizes: dict[str, int] = {}
        self.ghosts: dict[str, tuple[int, ...]] = {}
        self.moved: str | None = None
        self.moment = Moment(0, 0.0)
        self.dt_taken: float | None = None

    def register(
        self, name: str, array: Any, components: int = 1, ghost: int | Sequence[int] = 0
    ) -> None:
        """Add a field to the state; see `insitu.InSitu.register`."""
        with together(self.comm):
            if name in self.registered:
                raise CaseError(f"a field is registered once, got {name} again; give it a new name")
            field = RegisteredField.of(
                name, self.device, array, components, self.grid.points, ghost
            )
            if self.dtype is not None and field.memory.dtype != self.dtype:
                raise CaseError(
                    f"fields of one state must have one type, got {field.memory.dtype} for {name} after {self.dtype}; register "
                    "those of one type"
                )
        types = self.ranks.all(str(field.memory.dtype))
        if len(set(types)) > 1:
            raise CaseError(
                f"field {name} must have one type on every rank, got {', '.join(types)}; register those of one type"
            )
        self.registered[name] = field
        self.dtype = field.memory.dtype
        self.sizes[name], self.ghosts[name] = components, field.ghost

    def laid_out_as(self, name: str, array: Any) -> RegisteredField:
        """Show an array that is laid out as a field which has been registered.

        Raises
        ------
        CaseError
            It does not fit.
        """
        return RegisteredField.of(
            name, self.device, array, self.sizes[name], self.grid.points, self.ghosts[name]
        )

    def require_memory(self) -> None:
        """Refuse a field whose memory the application has freed or moved, where it has said so or its array shows it.

        Raises
        ------
        MemoryInUseError
            It names the field.
        """
        fields = {**self.registered, **({"the target": self.target} if self.target else {})}
        moved = self.moved or next(
            (name for name, field in fields.items() if field.has_moved), None
        )
        if moved:
            raise MemoryInUseError(
                f"a field's memory must stay where it is until finish(), that of {moved} was freed or moved before step "
                f"{self.step}; finish first"
            )

    @property
    def views(self) -> list[Tensor]:
        """The own points of each field, ``(components, *points)``, on the device.

        Raises
        ------
        MemoryInUseError
            The fields have been released.
        """
        if not self.registered:
            raise MemoryInUseError(
                "the application's fields were released by finish(), got a use after it; register them in a new session"
            )
        return [field.view for field in self.registered.values()]

    def register_target(
        self, name: str, array: Any, components: int = 1, ghost: int | Sequence[int] = 0
    ) -> None:
        """Note the field that a model writes; see `insitu.InSitu.register_target`."""
        with together(self.comm):
            self.target = RegisteredField.of(
                name, self.device, array, components, self.grid.points, ghost
            )

    @property
    def components(self) -> int:
        """Components of a state."""
        return sum(self.sizes.values())

    def components_of(self, name: str) -> slice:
        """Return which components of a state are a field's.

        Raises
        ------
        CaseError
            No field has this name.
        """
        first = 0
        for known, components in self.sizes.items():
            if known == name:
                return slice(first, first + components)
            first += components
        raise CaseError(
            f"a field must be one of those registered ({', '.join(self.sizes)}), got {name!r}; correct it"
        )

    def state(self) -> Tensor:
        """Return the state on this rank's block, ``(components, *points)``: a view of a single field, of several a copy."""
        views = self.views
        return views[0] if len(views) == 1 else torch.cat(views)

    @property
    def u(self) -> "BlockState":
        """The state on this rank's block."""
        return BlockState((self.components, *self.grid.points), self.dtype or np.dtype("float64"))

    @property
    def step(self) -> int:
        """Steps the application has told."""
        return self.moment.step

    @property
    def time(self) -> float:
        """Simulated time of the last step told."""
        return self.moment.time

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state on the whole grid, ``(components, *points)``."""
        return (self.components, *self.grid.whole.points)

    def reach(self, moment: Moment) -> None:
        """Note that the application stands at a moment now."""
        if moment.step > self.moment.step:
            self.dt_taken = (moment.time - self.moment.time) / (moment.step - self.moment.step)
        self.moment = moment

    def release(self) -> None:
        """Let the application's memory go; views of it are dropped."""
        self.registered.clear()
        self.target = None


def _is_laid_out(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Return whether an array has the wanted axes, or neighbouring ones in one, as a flat array has all of them."""
    own, others = (list(itertools.accumulate(each[::-1], mul)) for each in (shape, wanted))
    return math.prod(shape) == math.prod(wanted) and {1, *own} <= {1, *others}


def _address_of(array: Any) -> int | None:
    """Return where an array's values begin, None where it does not say or cannot move."""
    if isinstance(array, Memory | Field):
        return None
    if isinstance(array, Tensor):
        return array.data_ptr()
    for name in ("__cuda_array_interface__", "__array_interface__"):
        data = getattr(array, name, {}).get("data")
        if isinstance(data, tuple):
            return data[0]
    return None


def device_of(array: Any) -> str:
    """Return the name of the device on which an array is."""
    if hasattr(array, "device_name"):
        return array.device_name
    if not hasattr(array, "__dlpack_device__"):
        raise CaseError(
            f"a field must be an array of NumPy, torch, CuPy or JAX, which is seen in place, got {type(array).__name__}; "
            "keep it in one"
        )
    kind, number = array.__dlpack_device__()
    names = {1: "cpu", 2: f"CUDA:{number}", 10: f"HIP:{number}"}
    if kind not in names:
        raise CaseError(
            f"a field must be on the host or on a CUDA or HIP GPU, its DLPack device is ({kind}, {number}); move it there"
        )
    return names[kind]
