"""Proper orthogonal decomposition of a stream of snapshots, in bounded memory and with a certified error."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from insitu.collectives import on_first, together
from insitu.reduction.arrays import read_arrays, require_finite, to_numpy
from insitu.reduction.merging import Decomposition, merge, nothing, unit_round_off, weighted_norm
from insitu.reduction.pod import POD, features_of_all
from insitu.reduction.snapshots import Snapshots
from insitu.reduction.stopping import Truncation

__all__ = ["StreamingPOD"]

_NUMBERS = ("samples", "total", "lost", "round_off", "drift")
_SUMMED = 64 * unit_round_off(torch.float64)  # what sums of σ² are off by, relative to them
_NAMES = ("modes", "singular_values", "mean", *_NUMBERS)


class StreamingPOD(POD):
    """A `POD` that sees each snapshot once, in batches, and bounds its error over all of them.

    Memory is that of one batch, the modes kept and a few small matrices, however many snapshots
    there are. After every batch √(Σ ‖s − m − P(s − m)‖²) ≤ `error_bound_` over all snapshots s
    seen so far, P the projection on `modes_`, m their mean. Inner products are Σ_i w_i u_i v_i.

    On several ranks each holds its features of every batch, and all calls but `inverse_transform`,
    `save` and `state_dict` are made together; see `POD`.

    Parameters
    ----------
    rank
        Number of modes; a cap where an error rule is set too.
    tolerance
        Keep the fewest modes with error_bound_ ≤ tolerance · norm_.
    energy
        Keep the fewest modes with error_bound_² ≤ (1 − energy) · norm_².
    absolute_tolerance
        Keep the fewest modes with error_bound_ ≤ absolute_tolerance · √n_samples_seen_, in the
        unit of the weighted norm. Of several rules the strictest decides; with none every mode
        above the noise is kept, and memory is bounded by the number of features only.
    centred
        Subtract the mean m of all samples seen; m = 0 otherwise.
    oversampling
        Modes kept between batches beyond those shown: the more, the less is lost, the nearer the
        modes come to the best and the bound to the error.
    omega
        All batches together may lose the part 1 − ω² of the squared error that an error rule
        allows; the nearer to 1, the more spare modes are kept and the fewer are shown.

    Attributes
    ----------
    modes_
        Φ (rank, features), Φ diag(w) Φᵀ = 1; the block of this rank.
    singular_values_
        Those kept between batches, `rank` and the spare ones, descending, in the weighted norm's
        unit; each at most the true one.
    energy_
        Cumulative energy Σ_{k≤r} σ_k² / norm_² of these, dimensionless.
    mean_
        m (features,), in the unit of X; the block of this rank.
    weights_
        w (features,), None for 1; the block of this rank.
    error_bound_
        Bound on the error of all samples seen, in the weighted norm's unit; with an error rule
        above what it asks for only where `rank` caps it or round-off exceeds it.
    round_off_
        Its part for round-off, of independent roundings: it grows as the square root of the number
        of batches.
    norm_
        √(Σ ‖s − m‖²), in the weighted norm's unit.
    n_samples_seen_
        Number of samples seen.
    n_features_in_
        Number of features of a sample on this rank.
    comm_
        The ranks that hold the modes, None where one does.

    Notes
    -----
    Source: Levy & Lindenbaum 2000, doi:10.1109/83.855432; Himpe, Leibner & Rave 2018,
    doi:10.1137/16M1085413. The bound is derived in `insitu.reduction.merging.Decomposition`.
    """

    absolute_tolerance: float | None
    oversampling: int
    omega: float

    # scikit-learn wants wrong arguments refused by fit, so the type hook must not see this.
    @no_type_check
    def __init__(
        self,
        rank: int | None = None,
        tolerance: float | None = None,
        energy: float | None = None,
        absolute_tolerance: float | None = None,
        centred: bool = False,
        oversampling: int = 10,
        omega: float = 0.95,
    ) -> None:
        self.rank = rank
        self.tolerance = tolerance
        self.energy = energy
        self.absolute_tolerance = absolute_tolerance
        self.centred = centred
        self.oversampling = oversampling
        self.omega = omega

    def fit(self, X: Any, y: Any = None, comm: Any = None, weights: Any = None) -> "StreamingPOD":
        """Forget what was seen, and decompose X (samples, features) as the first batch.

        Parameters
        ----------
        X, y, comm, weights
            See `partial_fit`.

        Raises
        ------
        ValueError, TypeError
            See `partial_fit`; also where X is all zero or `rank` exceeds what X can have.
        """
        decomposition, batch = self._merged(X, None, comm, weights)
        self._require_samples(batch.values)
        self._require_rank(batch.smaller_side)
        self._require_modes(len(decomposition.modes))
        self._keep(decomposition, batch, isinstance(X, Tensor))
        return self

    def partial_fit(
        self, X: Any, y: Any = None, comm: Any = None, weights: Any = None
    ) -> "StreamingPOD":
        """Merge one more batch of snapshots X (samples, features) into the modes.

        Parameters
        ----------
        X
            Snapshots as rows, at least one, float32 or float64, all batches of one dtype on one
            device; on several ranks the features of this rank, and as many samples on every rank.
        y
            Ignored.
        comm : mpi4py.MPI.Comm, optional
            The ranks that share the features; all of them call this. None: those of the batches
            before, at first this one alone.
        weights
            w (features of this rank,), positive, as cell volumes; given with the first batch.
            None: those of the batches before, at first 1.

        Raises
        ------
        ValueError
            A rule is invalid, X is empty or not finite, its features, dtype or device are not
            those of the batches before, or the weights are not positive, on any rank; the ranks
            differ in their samples.
        TypeError
            A tensor is neither float32 nor float64.
        """
        comm = getattr(self, "comm_", None) if comm is None else comm
        known = getattr(self, "_decomposition", None)
        self._keep(*self._merged(X, known, comm, weights), isinstance(X, Tensor))
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return what `partial_fit` continues from: tensors of this rank's features, and numbers.

        The tensors are those of the reduction itself, not copies; it never writes into them.
        """
        check_is_fitted(self)
        state = {name: getattr(self._decomposition, name) for name in _NAMES}
        return state | {"root": self._root}

    def load_state_dict(self, state: Mapping[str, Any], comm: Any = None) -> None:
        """Continue where another reduction of the same settings and features was.

        Parameters
        ----------
        state
            What `state_dict` returned on this rank, on the device where the batches will be.
        comm : mpi4py.MPI.Comm, optional
            The ranks that share the features; all of them call this.

        Raises
        ------
        KeyError
            The state lacks an entry.
        """
        decomposition = Decomposition(**{name: state[name] for name in _NAMES})
        none = decomposition.modes[:0]
        batch = Snapshots(none, None, features_of_all(comm, none), comm, state["root"])
        self._keep(decomposition, batch, True)

    def save(self, path: str | Path) -> None:
        """Write what `POD.save` does, the settings and the state, to the npz file `path`.

        On several ranks the modes, the mean and the weights are those of this rank's block.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        state = {key: value for key, value in self.state_dict().items() if value is not None}
        modes = state.pop("modes")[len(self.modes_) :]
        arrays: dict[str, Any] = {f"state_{key}": to_numpy(value) for key, value in state.items()}
        arrays |= {
            "modes": to_numpy(self.modes_),
            "singular_values": to_numpy(self.singular_values_),
            "mean": to_numpy(self.mean_),
            "settings": json.dumps(self.get_params()),
            "state_modes": to_numpy(modes),
        }
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        comm: Any = None,
    ) -> "StreamingPOD":
        """Read what `save` wrote, ready for the next batch; the attributes are tensors.

        Parameters
        ----------
        path
            The npz file.
        device, dtype
            Where the tensors live, and the type of the modes and of batches to come; None keeps
            the stored type.
        comm : mpi4py.MPI.Comm, optional
            The ranks that share the features; all of them call this, each with its own file.

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            The file is not a saved `StreamingPOD`.
        """
        names = ["modes", "settings", *(f"state_{name}" for name in _NAMES if name != "mean")]
        stored = read_arrays(path, names, optional=["state_mean", "state_root"])
        modes = torch.from_numpy(np.concatenate([stored["modes"], stored["state_modes"]]))
        state: dict[str, Any] = {"modes": modes.to(device=device, dtype=dtype)}
        for name in ("singular_values", "mean", "root"):
            array = stored.get(f"state_{name}")
            state[name] = None if array is None else torch.from_numpy(array).to(device)
        for name in _NUMBERS:
            state[name] = stored[f"state_{name}"].item()
        basis = cls(**json.loads(str(stored["settings"])))
        basis.load_state_dict(state, comm)
        return basis

    def _merged(
        self, X: Any, known: Decomposition | None, comm: Any, weights: Any
    ) -> tuple[Decomposition, Snapshots]:
        """Return the decomposition that has seen X too, and X as it went in."""
        with together(comm):
            truncation = self._truncation()
            values = self._batch(X, known)
            root = self._root if known is not None else None
            if weights is not None:
                root = _root_of(weights, values, known)
        features = features_of_all(comm, values)
        batch = Snapshots(values.detach(), None, features, comm, root)
        with torch.no_grad():
            return merge(known or nothing(batch, self.centred), batch, truncation), batch

    def _truncation(self) -> Truncation:
        rules = (self.rank, self.tolerance, self.energy, self.absolute_tolerance)
        return Truncation(*rules, self.oversampling, self.omega)

    def _batch(self, X: Any, known: Decomposition | None) -> Float[Tensor, "samples features"]:
        values = self._validated(X, is_fitting=known is None)
        if known is None:
            return values
        require_finite(values)
        kind, expected = (values.dtype, values.device), (known.modes.dtype, known.modes.device)
        if kind != expected:
            raise ValueError(
                f"POD: expected a batch of {expected[0]} on {expected[1]} as those before, got "
                f"{kind[0]} on {kind[1]}; convert it or begin anew with fit"
            )
        return values

    def _keep(self, decomposition: Decomposition, batch: Snapshots, is_tensor: bool) -> None:
        """Make a decomposition visible."""
        known, dtype = decomposition, decomposition.modes.dtype
        squares = known.singular_values.square()
        round_off = math.hypot(known.round_off, known.drift) + _rounding_shown(known, batch)
        truncation = self._truncation()

        def bound() -> tuple[int, float]:
            shown = truncation.shown(squares, known.lost, known.total, known.samples, round_off)
            rest = (float(squares[shown:].sum()) + known.lost) ** 0.5
            return shown, rest * (1 + _SUMMED) + round_off

        shown, self.error_bound_ = on_first(batch.comm, bound, squares.device)
        mean = known.modes.new_zeros(known.modes.shape[1]) if known.mean is None else known.mean
        visible = {
            "modes_": known.modes[:shown],
            "singular_values_": known.singular_values.to(dtype),
            "energy_": (squares.cumsum(0) / (known.total or 1.0)).to(dtype),
            "mean_": mean.to(dtype),
            "weights_": None if batch.root is None else batch.root.square(),
        }
        for name, value in visible.items():
            setattr(self, name, value if is_tensor or value is None else value.numpy())
        self._decomposition, self._root = known, batch.root
        self.round_off_ = round_off
        self.norm_ = known.total**0.5
        self.n_samples_seen_ = known.samples
        self.n_features_in_ = known.modes.shape[1]
        self.comm_ = batch.comm


def _root_of(
    weights: Any, values: Float[Tensor, "samples features"], known: Decomposition | None
) -> Float[Tensor, " features"]:
    """Return √w as the snapshots are typed and placed."""
    if known is not None:
        raise ValueError(
            "POD: expected weights with the first batch only, got them again; begin anew with fit"
        )
    given = torch.as_tensor(weights).to(values)
    if given.shape != values.shape[1:] or not ((given > 0) & given.isfinite()).all():
        raise ValueError(
            f"POD: expected {values.shape[1]} finite weights > 0, one for each feature of this "
            f"rank, got shape {tuple(given.shape)}, least {float(given.min()) if len(given) else None}"
            "; give cell volumes"
        )
    return given.sqrt()


def _rounding_shown(known: Decomposition, batch: Snapshots) -> float:
    """Return what a projection, its modes orthonormal to round-off only, and the mean as shown can add to the error."""
    unit, computed = unit_round_off(known.modes.dtype), unit_round_off(torch.float64)
    overlaps = 2 * len(known.modes) ** 0.5 + 0.25 * batch.features**0.5
    added = (2 * unit + overlaps * computed) * known.total**0.5
    if known.mean is not None:
        norm = weighted_norm(batch.comm, known.mean, batch.root)
        added += 0.5 * unit * known.samples**0.5 * norm
    return added
