"""A run seen again from its field file: a figure of its evolution, and an animation."""

from pathlib import Path

import numpy as np
from matplotlib import animation
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.lines import Line2D

from insitu.case_errors import CaseError
from insitu.field_figures import ROW
from insitu.fields import Fields, find_fields
from insitu.figures import COLOURS, figure, scale

__all__ = ["animate", "still_of"]

_PIXELS = 512  # along an axis
_TIMES = 4
_FRAMES = 150  # at most
_RATE = 15  # frames a second
_MEMBERS = 4

Shown = dict[str, np.ndarray]


def still_of(folder: Path) -> Shown:
    """Return what the figure of the evolution shows, from the field file of a run directory; nothing where there is none."""
    path = find_fields(folder)
    if path is None:
        return {}
    with Fields(path) as fields:
        return _shown(fields, _TIMES if len(fields.axes) > 1 else _PIXELS) if len(fields) else {}


def animate(folder: Path) -> Path:
    """Draw the states of a run one after the other: ``figures/animation.mp4`` where ffmpeg is there, else ``animation.gif``.

    They are those of the field file; of a line without one those of its figure.

    Raises
    ------
    CaseError
        The run left no fields over time.
    """
    shown = _frames(folder)
    has_ffmpeg = animation.FFMpegWriter.isAvailable()
    path = folder / "figures" / f"animation.{'mp4' if has_ffmpeg else 'gif'}"
    writer = (animation.FFMpegWriter if has_ffmpeg else animation.PillowWriter)(fps=_RATE)
    names = [name for name in shown if name.startswith(ROW)]
    if "y" in shown:
        tall = float(np.clip(4.0 * np.ptp(shown["y"]) / np.ptp(shown["x"]), 1.6, 6.0))
        drawing, axes = figure(1, len(names), 5.0 * len(names), tall + 0.8)
        parts = [_plane(axis, shown, name) for axis, name in zip(axes, names, strict=True)]
    else:
        drawing, axes = figure(1, 1, 7.0, 4.0)
        lines = _lines(axes[0], shown)
    with writer.saving(drawing, str(path), dpi=90):
        for n, time in enumerate(shown["times"]):
            drawing.suptitle(f"t = {time:.3f}")
            if "y" in shown:
                for part, name in zip(parts, names, strict=True):
                    part.set_array(shown[name][n].T)
            else:
                for line, values in zip(lines, np.atleast_2d(_of_lines(shown)[n]), strict=True):
                    line.set_ydata(values)
            writer.grab_frame()
    return path


def _frames(folder: Path) -> Shown:
    path = find_fields(folder)
    if path is not None:
        with Fields(path) as fields:
            if len(fields):
                return _shown(fields, _FRAMES)
    still = folder / "figures" / "field_evolution.npz"
    if still.is_file():
        with np.load(still) as held:
            shown = dict(held)
        if "y" not in shown:
            chosen = _evenly(len(shown["times"]), _FRAMES)
            of_time = ("times", "u", "states")
            return {n: v[chosen] if n in of_time else v for n, v in shown.items()}
    raise CaseError(
        f"an animation needs fields over time, {folder} has none; run the case with --fields.format vtkhdf"
    )


def _shown(fields: Fields, most: int) -> Shown:
    """Return states as the figures take them, see `insitu.field_figures.draw_evolution`, with no more than its pixels."""
    chosen = _evenly(len(fields), most)
    along = [slice(None, None, -(-len(axis) // _PIXELS)) for axis in fields.axes]
    shown: Shown = {"times": fields.times[chosen], "x": fields.axes[0][along[0]]}
    box: tuple[slice, ...] = tuple(along)
    if len(fields.axes) > 1:
        shown["y"] = fields.axes[1][along[1]]
    if len(fields.axes) > 2:
        middle = len(fields.axes[2]) // 2
        box = (*box[:2], slice(middle, middle + 1))
        shown["plane"] = fields.axes[2][middle]

    def over_time(name: str, member: int | None) -> np.ndarray:
        states = [fields.state(name, int(n), member, box) for n in chosen]
        return np.array([state[..., 0] if len(box) > 2 else state for state in states])

    members = [fields.members[n] for n in _evenly(len(fields.members), _MEMBERS)]
    first = next(iter(fields.variables))
    if len(fields.axes) == 1:
        if not members:
            return shown | {"u": over_time(first, None)}
        states = np.stack([over_time(first, member) for member in members], axis=1)
        return shown | {
            "members": np.array(members),
            "of_members": np.array(len(members)),
            "states": states,
            "mean": states.mean(axis=1),
            "spread": states.std(axis=1),
        }
    if members:
        rows = {f"{ROW}{first}, member {member}": over_time(first, member) for member in members}
        return shown | rows
    components = [name for name in ("u", "v", "w") if name in fields.variables]
    rest = [name for name in fields.variables if name not in components]
    if len(components) > 1:
        squares = sum(over_time(name, None) ** 2 for name in components)
        shown[f"{ROW}|u|"] = np.sqrt(squares)
    else:
        rest = components + rest
    return shown | {f"{ROW}{name}": over_time(name, None) for name in rest}


def _plane(axis: Axes, shown: Shown, name: str) -> QuadMesh:
    values = shown[name][np.isfinite(shown[name]).all(axis=(1, 2))]
    part = axis.pcolormesh(
        shown["x"],
        shown["y"],
        shown[name][0].T,
        shading="nearest",
        rasterized=True,
        **scale(values),
    )
    where = f", z = {float(shown['plane']):.3g}" if "plane" in shown else ""
    axis.set(aspect="equal", xlabel="x", ylabel="y", title=f"{name.removeprefix(ROW)}{where}")
    axis.figure.colorbar(part, ax=axis)
    return part


def _lines(axis: Axes, shown: Shown) -> list[Line2D]:
    values = _of_lines(shown)
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) + 1e-12
    first = np.atleast_2d(values[0])
    labels = [f"member {member}" for member in shown.get("members", [])] or ["u"]
    axis.set(xlabel="x", ylabel="u", ylim=(low - room, high + room))
    lines = [
        axis.plot(shown["x"], state, color=colour, label=label)[0]
        for colour, state, label in zip(COLOURS, first, labels, strict=False)
    ]
    if "members" in shown:
        axis.legend(frameon=False, fontsize="small", loc="upper right")
    return lines


def _of_lines(shown: Shown) -> np.ndarray:
    return shown["states"] if "states" in shown else shown["u"]


def _evenly(count: int, most: int) -> list[int]:
    return sorted({round(n) for n in np.linspace(0, count - 1, min(count, most))})
