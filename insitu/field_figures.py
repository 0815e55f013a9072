"""Figures of fields and modes on grids of one to three axes, of one solution or an ensemble."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from insitu.figures import COLOURS, draw_field_evolution, draw_modes, draw_singular_values, figure
from insitu.timing import Ledger
from insitu.views import View, evenly

__all__ = ["draw_evolution", "draw_mode_shapes"]

_MEMBERS = 4  # drawn at most
_TIMES = 4
_MODES = 4
_NAMES = ("u", "v", "w")
_NOISE = 1e-3  # of the divergence: less vorticity than that is none


def draw_evolution(
    path: Path, view: View, times: np.ndarray, snapshots: Tensor, ledger: Ledger
) -> None:
    """Draw the field of the snapshots (time, dof) over time, in the way its dimensions ask for; all ranks call it."""
    is_plane = len(view.axes) > 1
    rows = (
        sorted({round(n) for n in np.linspace(0, len(times) - 1, _TIMES)})
        if is_plane
        else evenly(len(times))
    )
    times = times[rows]
    chosen = _chosen(view.members) if view.members and not is_plane else None
    several = view.moments(snapshots[rows], ledger) if view.members else None
    states = (
        None if view.members and is_plane else view.collect(snapshots[rows], ledger, members=chosen)
    )
    if not view.is_drawn_here:
        return
    titles = [f"t = {time:.3g}" for time in times]
    if several is not None and is_plane:
        _draw_planes(path, view, titles, _of_components({"mean": several[0], "spread": several[1]}))
    elif states is not None and is_plane:
        _draw_planes(path, view, titles, _of_vector(states, view))
    elif states is not None and several is not None and chosen is not None:
        mean, spread = several
        _draw_members(path, view, times, chosen, states[:, :, 0], mean[:, 0], spread[:, 0])
    elif states is not None:
        draw_field_evolution(path, view.axes[0], times, states[:, 0])


def draw_mode_shapes(
    path: Path, view: View, modes: Tensor, singular_values: np.ndarray, ledger: Ledger
) -> None:
    """Draw the modes (rank, dof) of a basis and the decay of its singular values; all ranks call it."""
    is_line = len(view.axes) == 1
    chosen = _chosen(view.members) if view.members else None
    few = modes if is_line and not view.members else modes[:_MODES]
    shapes = view.collect(few, ledger, members=chosen)
    if shapes is None:
        return
    if is_line and chosen is None:
        draw_modes(path, view.axes[0], shapes[:, 0], singular_values)
        return
    if is_line and chosen is not None:
        _draw_modes_of_members(
            path, view.axes[0], chosen, shapes[:, :, 0], len(modes), singular_values
        )
        return
    if chosen is not None:
        rows = {f"member {member}": shapes[:, n, 0] for n, member in enumerate(chosen)}
    else:
        rows = {name: shapes[:, n] for n, name in enumerate(_names(shapes.shape[1]))}
    titles = [f"mode {k}" for k in range(len(shapes))]
    _draw_planes(path, view, titles, rows, (len(modes), singular_values))


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


def _draw_members(
    path: Path,
    view: View,
    times: np.ndarray,
    chosen: list[int],
    states: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
) -> None:
    """Draw chosen members (time, member, x) over space and time, and mean and spread (time, x) of all at three times."""
    x = view.axes[0]
    drawing, axes = figure(1, len(chosen) + 1, 2.6 * len(chosen) + 4.4, 3.6)
    for n, (axis, member) in enumerate(zip(axes, chosen, strict=False)):
        shading = axis.pcolormesh(
            x, times, states[:, n], shading="nearest", rasterized=True, **_scale(states)
        )
        axis.set(xlabel="x", title=f"member {member}")
    axes[0].set(ylabel="t")
    drawing.colorbar(shading, ax=axes[:-1], label="u")
    for colour, row in zip(COLOURS, (0, len(times) // 2, len(times) - 1), strict=False):
        low, high = mean[row] - spread[row], mean[row] + spread[row]
        axes[-1].plot(x, mean[row], color=colour, label=f"t = {times[row]:.3g}")
        axes[-1].fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    axes[-1].set(xlabel="x", ylabel="u", title=f"mean ± spread of {view.members}")
    axes[-1].legend(frameon=False, fontsize="small")
    drawing.savefig(path)


def _draw_modes_of_members(
    path: Path,
    x: np.ndarray,
    chosen: list[int],
    modes: np.ndarray,
    rank: int,
    singular_values: np.ndarray,
) -> None:
    """Draw the parts of the modes (mode, member, x) that belong to chosen members."""
    drawing, axes = figure(1, len(chosen) + 1, 2.6 * len(chosen) + 4.4, 3.6)
    for n, (axis, member) in enumerate(zip(axes, chosen, strict=False)):
        for colour, (k, mode) in zip(COLOURS, enumerate(modes), strict=False):
            axis.plot(x, mode[n], color=colour, label=f"mode {k}")
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
