"""Figures of fields and modes on grids of one to three axes, of one solution or an ensemble."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from insitu.figures import COLOURS, draw_field_evolution, draw_modes, draw_singular_values, figure
from insitu.timing import Ledger
from solver import Field

__all__ = ["View", "draw_evolution", "draw_mode_shapes"]

_PIXELS = 512  # along an axis; a figure has no more to show
_MEMBERS = 4  # drawn at most
_TIMES = 4
_MODES = 4
_NAMES = ("u", "v", "w")
_NOISE = 1e-3  # of the divergence: less vorticity than that is none


class View(NamedTuple):
    """What of a state is drawn: all members and components, on at most 512 points along x and y, in the middle of z.

    Attributes
    ----------
    shape
        ``([members,] components, *points)`` of a state.
    members
        Members, 0 without an ensemble.
    axes
        The drawn points' coordinates along x and, from two axes on, y.
    indices
        Their positions along each axis of the grid.
    periods
        Length of each drawn axis that is periodic, else None.
    plane
        The third coordinate of what is drawn, None where there is no third axis.
    """

    shape: tuple[int, ...]
    members: int
    axes: list[np.ndarray]
    indices: list[list[int]]
    periods: list[float | None]
    plane: float | None

    @classmethod
    def of(cls, field: Field) -> "View":
        """Return the view of a field."""
        axes = field.grid.axes()
        indices = [evenly(n) for n in field.grid.points[:2]]
        plane = None
        if len(axes) == 3:
            indices.append([field.grid.points[2] // 2])
            plane = float(axes[2][indices[2][0]])
        drawn = [axis[chosen] for axis, chosen in zip(axes[:2], indices, strict=False)]
        periods = [
            end - start if is_periodic else None
            for (start, end), is_periodic in zip(
                field.grid.extent, field.grid.is_periodic, strict=True
            )
        ]
        return cls(field.shape, field.members or 0, drawn, indices, periods[:2], plane)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Return what is drawn of states (rows, dof), shape (rows, [members,] components, x[, y]), on their device."""
        states = rows.reshape(len(rows), *self.shape)
        first = states.ndim - len(self.indices)
        for axis, chosen in enumerate(self.indices, first):
            if len(chosen) < states.shape[axis]:
                states = states.index_select(axis, torch.tensor(chosen, device=states.device))
        return states.squeeze(-1) if self.plane is not None else states

    def slope(self, planes: np.ndarray, axis: int) -> np.ndarray:
        """Return the derivative of planes (time, x, y) along an axis, by central differences."""
        x, period, along = self.axes[axis], self.periods[axis], axis + 1
        if period is not None:
            x = np.concatenate([[x[-1] - period], x, [x[0] + period]])
            wrapped = [(0, 0)] * planes.ndim
            wrapped[along] = (1, 1)
            planes = np.pad(planes, wrapped, mode="wrap")
        slopes = np.gradient(planes, x, axis=along)
        return slopes if period is None else np.delete(slopes, [0, len(x) - 1], axis=along)


def draw_evolution(
    path: Path, view: View, times: np.ndarray, snapshots: Tensor, ledger: Ledger
) -> None:
    """Draw the field of the snapshots (time, dof) over time, in the way its dimensions ask for."""
    if len(view.axes) > 1:
        rows = sorted({round(n) for n in np.linspace(0, len(times) - 1, _TIMES)})
        states = view.of_rows(snapshots[rows])
        if view.members:
            named = {
                "mean": ledger.to_host(states.mean(dim=1)),
                "spread": ledger.to_host(states.std(dim=1, correction=0)),
            }
            quantities = _of_components(named)
        else:
            quantities = _of_vector(ledger.to_host(states), view)
        _draw_planes(path, view, [f"t = {times[row]:.3g}" for row in rows], quantities)
        return
    rows = evenly(len(times))
    states = view.of_rows(snapshots[rows])
    if view.members:
        _draw_members(path, view.axes[0], times[rows], ledger.to_host(states[:, :, 0]))
    else:
        draw_field_evolution(path, view.axes[0], times[rows], ledger.to_host(states[:, 0]))


def draw_mode_shapes(
    path: Path, view: View, modes: Tensor, singular_values: np.ndarray, ledger: Ledger
) -> None:
    """Draw the modes (rank, dof) of a basis and the decay of its singular values."""
    if len(view.axes) == 1 and not view.members:
        x, shapes = view.axes[0], ledger.to_host(view.of_rows(modes)[:, 0])
        draw_modes(path, x, shapes, singular_values)
        return
    shapes = ledger.to_host(view.of_rows(modes[:_MODES]))
    if len(view.axes) == 1:
        _draw_modes_of_members(path, view.axes[0], shapes[:, :, 0], len(modes), singular_values)
        return
    if view.members:
        chosen = _chosen(view.members)
        rows = {f"member {member}": shapes[:, member, 0] for member in chosen}
    else:
        rows = {name: shapes[:, n] for n, name in enumerate(_names(shapes.shape[1]))}
    titles = [f"mode {k}" for k in range(len(shapes))]
    _draw_planes(path, view, titles, rows, (len(modes), singular_values))


def evenly(extent: int) -> list[int]:
    """Return at most 512 indices, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, extent - 1, min(extent, _PIXELS))})


def _of_components(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return each component (time, x, y) of named fields (time, components, x, y)."""
    return {
        f"{name} of {component}": values[:, n]
        for name, values in named.items()
        for n, component in enumerate(_names(values.shape[1]))
    }


def _of_vector(states: np.ndarray, view: View) -> dict[str, np.ndarray]:
    """Return a scalar as it is; of a vector its length and its vorticity about z, or divergence where it has none.

    States are (time, components, x, y).
    """
    if states.shape[1] == 1:
        return {"u": states[:, 0]}
    u, v = states[:, 0], states[:, 1]
    turning = view.slope(v, 0) - view.slope(u, 1)
    spreading = view.slope(u, 0) + view.slope(v, 1)
    length = np.sqrt((states**2).sum(axis=1))
    if np.abs(turning).max() > _NOISE * np.abs(spreading).max():
        return {"|u|": length, "vorticity": turning}
    return {"|u|": length, "divergence": spreading}


def _draw_planes(
    path: Path,
    view: View,
    titles: Sequence[str],
    rows: Mapping[str, np.ndarray],
    decay: tuple[int, np.ndarray] | None = None,
) -> None:
    """Draw a row of planes (columns, x, y) for each quantity, on one scale, and the singular values beside them."""
    x, y = view.axes
    columns = len(titles) + (decay is not None)
    tall = float(np.clip(2.0 * np.ptp(y) / max(np.ptp(x), 1e-300), 1.2, 4.0))
    drawing, axes = figure(len(rows), columns, 2.6 * columns + 0.6, (tall + 0.45) * len(rows) + 0.4)
    if view.plane is not None:
        drawing.suptitle(f"z = {view.plane:.3g}")
    least = _NOISE**2 * max(float(np.abs(planes).max()) for planes in rows.values())
    for r, (name, planes) in enumerate(rows.items()):
        line = axes[r * columns : r * columns + len(titles)]
        for axis, title, plane in zip(line, titles, planes, strict=True):
            shading = axis.pcolormesh(
                x, y, plane.T, shading="nearest", rasterized=True, **_scale(planes, least)
            )
            axis.set(aspect="equal", title=title if r == 0 else "")
        line[0].set(ylabel="y")
        for axis in line if r == len(rows) - 1 else ():
            axis.set(xlabel="x")
        drawing.colorbar(shading, ax=line, label=name, shrink=0.9)
        if decay is not None and r == 0:
            draw_singular_values(axes[columns - 1], *decay)
        elif decay is not None:
            axes[(r + 1) * columns - 1].set_visible(False)
    drawing.savefig(path)


def _draw_members(path: Path, x: np.ndarray, times: np.ndarray, states: np.ndarray) -> None:
    """Draw members of an ensemble over space and time, and mean and spread at three times; states are (time, member, x)."""
    chosen = _chosen(states.shape[1])
    drawing, axes = figure(1, len(chosen) + 1, 2.6 * len(chosen) + 4.4, 3.6)
    for axis, member in zip(axes, chosen, strict=False):
        shading = axis.pcolormesh(
            x, times, states[:, member], shading="nearest", rasterized=True, **_scale(states)
        )
        axis.set(xlabel="x", title=f"member {member}")
    axes[0].set(ylabel="t")
    drawing.colorbar(shading, ax=axes[:-1], label="u")
    for colour, row in zip(COLOURS, (0, len(times) // 2, len(times) - 1), strict=False):
        mean, spread = states[row].mean(axis=0), states[row].std(axis=0)
        axes[-1].plot(x, mean, color=colour, label=f"t = {times[row]:.3g}")
        axes[-1].fill_between(
            x, mean - spread, mean + spread, color=colour, alpha=0.25, linewidth=0
        )
    axes[-1].set(xlabel="x", ylabel="u", title=f"mean ± spread of {states.shape[1]}")
    axes[-1].legend(frameon=False, fontsize="small")
    drawing.savefig(path)


def _draw_modes_of_members(
    path: Path, x: np.ndarray, modes: np.ndarray, rank: int, singular_values: np.ndarray
) -> None:
    """Draw the parts of the modes (mode, member, x) that belong to some members."""
    chosen = _chosen(modes.shape[1])
    drawing, axes = figure(1, len(chosen) + 1, 2.6 * len(chosen) + 4.4, 3.6)
    for axis, member in zip(axes, chosen, strict=False):
        for colour, (k, mode) in zip(COLOURS, enumerate(modes), strict=False):
            axis.plot(x, mode[member], color=colour, label=f"mode {k}")
        axis.set(
            xlabel="x", title=f"member {member}", ylim=(modes.min() * 1.05, modes.max() * 1.05)
        )
    axes[0].set(ylabel="mode")
    axes[0].legend(frameon=False, fontsize="small")
    draw_singular_values(axes[-1], rank, singular_values)
    drawing.savefig(path)


def _scale(values: np.ndarray, least: float = 0.0) -> dict[str, Any]:
    """Return the colours of values: two-sided around 0 where they change sign, and no finer than ``least``."""
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        return {"cmap": "viridis", "vmin": low, "vmax": max(high, low + least)}
    most = max(-low, high, least)
    return {"cmap": "RdBu_r", "vmin": -most, "vmax": most}


def _chosen(members: int) -> list[int]:
    return sorted({round(n) for n in np.linspace(0, members - 1, min(members, _MEMBERS))})


def _names(components: int) -> Sequence[str]:
    return _NAMES[:components]
