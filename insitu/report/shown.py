"""What the figures of fields and modes show, brought together from the ranks: arrays to save, and to draw from again."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from insitu.field_figures import ROW
from insitu.timing import Ledger
from insitu.views import View, evenly

__all__ = ["names_of", "rows_of_vector", "shown_of_field", "shown_of_modes"]

Shown = dict[str, np.ndarray]

_MEMBERS = 4  # drawn at most
_TIMES = 4
_MODES = 4
_NAMES = ("u", "v", "w")
_NOISE = 1e-3  # of the divergence: less vorticity than that is none


def shown_of_field(
    view: View, times: np.ndarray, snapshots: Tensor, ledger: Ledger
) -> Shown | None:
    """Return what is drawn of snapshots (time, dof), on rank 0, else None; see `insitu.field_figures.draw_evolution`.

    All ranks call it.
    """
    is_plane = len(view.axes) > 1
    rows = (
        sorted({round(n) for n in np.linspace(0, len(times) - 1, _TIMES)})
        if is_plane
        else evenly(len(times))
    )
    chosen = _chosen(view.members) if view.members and not is_plane else None
    several = view.moments(snapshots[rows], ledger) if view.members else None
    states = (
        None if view.members and is_plane else view.collect(snapshots[rows], ledger, members=chosen)
    )
    if not view.is_drawn_here:
        return None
    shown = _of_view(view) | {"times": times[rows]}
    if several is not None and is_plane:
        return shown | _of_components({"mean": several[0], "spread": several[1]})
    if states is not None and is_plane:
        return shown | rows_of_vector(states, view)
    if states is not None and several is not None and chosen is not None:
        return shown | {
            "members": np.array(chosen),
            "of_members": np.array(view.members),
            "states": states[:, :, 0],
            "mean": several[0][:, 0],
            "spread": several[1][:, 0],
        }
    return shown if states is None else shown | {"u": states[:, 0]}


def shown_of_modes(
    view: View, modes: Tensor, singular_values: np.ndarray, ledger: Ledger
) -> Shown | None:
    """Return what is drawn of the modes (rank, dof) of a basis, on rank 0, else None; all ranks call it."""
    is_line = len(view.axes) == 1
    chosen = _chosen(view.members) if view.members else None
    few = modes if is_line and not view.members else modes[:_MODES]
    shapes = view.collect(few, ledger, members=chosen)
    if shapes is None:
        return None
    shown = _of_view(view) | {"rank": np.array(len(modes)), "singular_values": singular_values}
    if chosen is not None and is_line:
        return shown | {"members": np.array(chosen), "states": shapes[:, :, 0]}
    if chosen is not None:
        parts = {f"{ROW}member {member}": shapes[:, n, 0] for n, member in enumerate(chosen)}
        return shown | parts
    if is_line:
        return shown | {"u": shapes[:, 0]}
    return shown | {
        f"{ROW}{name}": shapes[:, n] for n, name in enumerate(names_of(shapes.shape[1]))
    }


def names_of(components: int) -> Sequence[str]:
    """Return the names of the components of a state."""
    return _NAMES[:components]


def rows_of_vector(states: np.ndarray, view: View) -> Shown:
    """Return what is drawn of states (time, components, x, y): a scalar as it is, of a vector its length and its turning.

    Turning is the vorticity about z, or the divergence where there is none.
    """
    if states.shape[1] == 1:
        return {f"{ROW}u": states[:, 0]}
    u, v = states[:, 0], states[:, 1]
    turning = view.slope(v, 0) - view.slope(u, 1)
    spreading = view.slope(u, 0) + view.slope(v, 1)
    length = np.sqrt((states**2).sum(axis=1))
    if np.abs(turning).max() > _NOISE * np.abs(spreading).max():
        return {f"{ROW}|u|": length, f"{ROW}vorticity": turning}
    return {f"{ROW}|u|": length, f"{ROW}divergence": spreading}


def _of_view(view: View) -> Shown:
    shown: Shown = dict(zip("xy", view.axes, strict=False))
    return shown if view.plane is None else shown | {"plane": np.array(view.plane)}


def _of_components(named: Mapping[str, np.ndarray]) -> Shown:
    """Return each component (time, x, y) of named fields (time, components, x, y)."""
    return {
        f"{ROW}{name} of {component}": values[:, n]
        for name, values in named.items()
        for n, component in enumerate(names_of(values.shape[1]))
    }


def _chosen(members: int) -> list[int]:
    return sorted({round(n) for n in np.linspace(0, members - 1, min(members, _MEMBERS))})
