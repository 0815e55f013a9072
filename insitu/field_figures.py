"""Figures of fields and modes on grids of one to three axes, of one solution or an ensemble."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from insitu.figures import (
    COLOURS,
    draw_field_evolution,
    draw_modes,
    draw_singular_values,
    figure,
    scale,
)

__all__ = ["ROW", "draw_evolution", "draw_mode_shapes"]

ROW = "row: "  # begins the names of the quantities that planes are drawn of
_NOISE = 1e-6  # of the largest values in a figure: finer differences are no colours

Shown = Mapping[str, np.ndarray]


def draw_evolution(path: Path, shown: Shown) -> None:
    """Draw a field over time, in the way its dimensions ask for.

    Parameters
    ----------
    path
    shown
        ``times`` and ``x``. Of a line ``u`` (time, x); of an ensemble of lines ``members``, their ``states`` (time, member, x),
        ``mean`` and ``spread`` (time, x) of all, and how many those are, ``of_members``. Of planes ``y``, where they are cut out
        of a box its ``plane``, and for each quantity ``row: NAME`` (time, x, y).
    """
    times = shown["times"]
    if "y" in shown:
        _draw_planes(path, shown, [f"t = {time:.3g}" for time in times])
    elif "members" in shown:
        _draw_members(path, shown)
    else:
        draw_field_evolution(path, shown["x"], times, shown["u"])


def draw_mode_shapes(path: Path, shown: Shown) -> None:
    """Draw the modes of a basis and the decay of its singular values.

    Parameters
    ----------
    path
    shown
        ``rank`` and ``singular_values``, and of the modes what `draw_evolution` is given of times, but for mean and spread.
    """
    rank, singular_values = int(shown["rank"]), shown["singular_values"]
    if "y" in shown:
        count = len(next(shown[name] for name in shown if name.startswith(ROW)))
        _draw_planes(path, shown, [f"mode {k}" for k in range(count)], (rank, singular_values))
    elif "members" in shown:
        _draw_modes_of_members(path, shown, rank, singular_values)
    else:
        draw_modes(path, shown["x"], shown["u"], singular_values)


def _draw_planes(
    path: Path,
    shown: Shown,
    titles: Sequence[str],
    decay: tuple[int, np.ndarray] | None = None,
) -> None:
    """Draw a row of planes (columns, x, y) for each quantity, on one scale, and the singular values beside them."""
    x, y = shown["x"], shown["y"]
    rows = {name.removeprefix(ROW): shown[name] for name in shown if name.startswith(ROW)}
    columns = len(titles) + (decay is not None)
    tall = float(np.clip(2.0 * np.ptp(y) / max(np.ptp(x), 1e-300), 1.2, 4.0))
    drawing, axes = figure(len(rows), columns, 2.6 * columns + 0.6, (tall + 0.45) * len(rows) + 0.4)
    if "plane" in shown:
        drawing.suptitle(f"z = {float(shown['plane']):.3g}")
    least = _NOISE * max(float(np.abs(planes).max()) for planes in rows.values())
    for r, (name, planes) in enumerate(rows.items()):
        line = axes[r * columns : r * columns + len(titles)]
        for axis, title, plane in zip(line, titles, planes, strict=True):
            shading = axis.pcolormesh(
                x, y, plane.T, shading="nearest", rasterized=True, **scale(planes, least)
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


def _draw_members(path: Path, shown: Shown) -> None:
    """Draw chosen members (time, member, x) over space and time, and mean and spread (time, x) of all at three times."""
    x, times, chosen = shown["x"], shown["times"], shown["members"]
    states, mean, spread = shown["states"], shown["mean"], shown["spread"]
    drawing, axes = figure(1, len(chosen) + 1, 2.6 * len(chosen) + 4.4, 3.6)
    for n, (axis, member) in enumerate(zip(axes, chosen, strict=False)):
        shading = axis.pcolormesh(
            x, times, states[:, n], shading="nearest", rasterized=True, **scale(states)
        )
        axis.set(xlabel="x", title=f"member {member}")
    axes[0].set(ylabel="t")
    drawing.colorbar(shading, ax=axes[:-1], label="u")
    for colour, row in zip(COLOURS, (0, len(times) // 2, len(times) - 1), strict=False):
        low, high = mean[row] - spread[row], mean[row] + spread[row]
        axes[-1].plot(x, mean[row], color=colour, label=f"t = {times[row]:.3g}")
        axes[-1].fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    axes[-1].set(xlabel="x", ylabel="u", title=f"mean ± spread of {int(shown['of_members'])}")
    axes[-1].legend(frameon=False, fontsize="small")
    drawing.savefig(path)


def _draw_modes_of_members(
    path: Path, shown: Shown, rank: int, singular_values: np.ndarray
) -> None:
    """Draw the parts of the modes (mode, member, x) that belong to chosen members."""
    x, chosen, modes = shown["x"], shown["members"], shown["states"]
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
