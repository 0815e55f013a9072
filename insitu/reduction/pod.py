"""Proper orthogonal decomposition of snapshots, a scikit-learn transformer on any device."""

import warnings
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from insitu.collectives import size_of, together
from insitu.reduction.arrays import (
    from_numpy,
    like,
    read_arrays,
    require_finite,
    require_snapshots,
    to_numpy,
)
from insitu.reduction.decompositions import METHODS, modes_of
from insitu.reduction.snapshots import Snapshots, project, squared_norms
from insitu.reduction.stopping import cumulative_energy, kept_rank, require_rules

__all__ = ["POD", "features_of_all"]


class POD(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Orthonormal modes Φ that minimise ‖X − m − (X − m) Φᵀ Φ‖ among all of one rank.

    Torch tensors are decomposed on their own device in their own dtype and give tensors; whatever
    else scikit-learn accepts gives NumPy arrays. Of each mode the first sample whose coefficient
    is more than two thirds of the largest one has a positive coefficient, so the signs are
    reproducible.

    On several ranks each holds some of the features, of all samples: its block of the snapshots,
    the modes and the mean. Nothing of that leaves the rank; matrices of (samples, samples) do, and
    what is small (singular values, coefficients) has the same bits on every rank. `fit`,
    `transform` and the errors are then calls that all ranks make together.

    Parameters
    ----------
    rank
        Number of modes; a cap where an error rule is set too.
    tolerance
        Keep the smallest r with √(Σ_{k>r} σ_k²) ≤ tolerance · √(Σ σ_k²).
    energy
        Keep the smallest r with Σ_{k≤r} σ_k² ≥ energy · Σ σ_k². With `tolerance` set too the
        stricter rule decides; with no rule every mode is kept.
    method
        "svd", the singular value decomposition by way of a QR decomposition, or "snapshots", the
        eigen-decomposition of the smaller Gram matrix: faster, but singular values below about
        √(n ε) · σ₁ are noise, n = min(samples, features). "svd" resolves them down to n ε · σ₁.
        Modes below that are dropped, whatever the rules say.
    centred
        Subtract the mean m of the samples; m = 0 otherwise.

    Attributes
    ----------
    modes_
        Φ (rank, features), orthonormal rows, dimensionless; the block of this rank.
    singular_values_
        All that are above the noise, descending, in the unit of X.
    energy_
        Cumulative energy Σ_{k≤r} σ_k² / Σ σ_k² of these, dimensionless.
    mean_
        m (features,), in the unit of X; the block of this rank.
    n_features_in_
        Number of features of a sample on this rank.
    comm_
        The ranks that hold the modes, None where one does.

    Notes
    -----
    Source: Sirovich 1987, doi:10.1090/qam/910462; Berkooz, Holmes & Lumley 1993,
    doi:10.1146/annurev.fl.25.010193.002543.
    """

    rank: int | None
    tolerance: float | None
    energy: float | None
    method: str
    centred: bool
    _root: Tensor | None = None

    # scikit-learn wants wrong arguments refused by fit, so the type hook must not see this.
    @no_type_check
    def __init__(
        self,
        rank: int | None = None,
        tolerance: float | None = None,
        energy: float | None = None,
        method: str = "svd",
        centred: bool = False,
    ) -> None:
        self.rank = rank
        self.tolerance = tolerance
        self.energy = energy
        self.method = method
        self.centred = centred

    def fit(self, X: Any, y: Any = None, comm: Any = None) -> "POD":
        """Compute the modes of X (samples, features); the unit is that of the field.

        Parameters
        ----------
        X
            Snapshots as rows, float32 or float64, on any device; on several ranks the features
            of this rank, however many, and all samples.
        y
            Ignored.
        comm : mpi4py.MPI.Comm, optional
            The ranks that share the features; all of them call this. None: this one has all.

        Raises
        ------
        ValueError
            A rule or the method is invalid, the rank exceeds what the data can have, or X is
            empty, not finite or all zero, on any rank; the ranks differ in their samples.
        TypeError
            A tensor is neither float32 nor float64.
        """
        with together(comm):
            snapshots = self._checked(X)
        features = features_of_all(comm, snapshots)
        mean = snapshots.mean(dim=0) if self.centred else None
        with torch.no_grad():
            self._decompose(Snapshots(snapshots.detach(), mean, features, comm))
        if not isinstance(X, Tensor):
            for name in ("modes_", "singular_values_", "energy_", "mean_"):
                setattr(self, name, getattr(self, name).numpy())
        return self

    def transform(self, X: Any) -> Any:
        """Project on the modes: (X − m) Φᵀ.

        Parameters
        ----------
        X
            Snapshots (samples, features), on the device of the modes; the features of this rank.

        Returns
        -------
        Tensor or array
            Coefficients (samples, rank), in the unit, dtype and device of X; the same on every
            rank.

        Raises
        ------
        ValueError
            X has another number of features or is on another device, on any rank.
        """
        check_is_fitted(self)
        with together(self.comm_):
            snapshots, modes = self._on_basis(X)
        return like(project(snapshots, modes), X)

    def inverse_transform(self, X: Any) -> Any:
        """Lift coefficients to fields: m + X Φ.

        Parameters
        ----------
        X
            Coefficients (samples, rank), on the device of the modes.

        Returns
        -------
        Tensor or array
            Fields (samples, features), in the unit, dtype and device of X; the features of this
            rank.

        Raises
        ------
        ValueError
            X has another number of coefficients or is on another device.
        """
        check_is_fitted(self)
        coefficients = self._coefficients(X)
        mean, modes = self._basis(coefficients)
        return like(torch.addmm(mean, coefficients, modes), X)

    def projection_error(self, X: Any) -> float:
        """Relative error ‖X − P X‖₂ / ‖X‖₂ of lifting the projection; see `field_error`."""
        return self.field_error(self.transform(X), X)

    def field_error(self, coefficients: Any, X: Any) -> float:
        """Relative error ‖X − m − a Φ‖₂ / ‖X‖₂ of lifting coefficients a, over all ranks.

        Parameters
        ----------
        coefficients
            a (samples, rank), the same on every rank.
        X
            Snapshots (samples, features), on the device of the modes; the features of this rank.

        Returns
        -------
        float
            Dimensionless; 0 where the error vanishes, ∞ where only X does.

        Raises
        ------
        ValueError
            The shapes do not fit or X is on another device, on any rank.
        """
        check_is_fitted(self)
        with together(self.comm_):
            snapshots, modes = self._on_basis(X)
            lifted = self._coefficients(coefficients).to(modes.dtype)
            if len(lifted) != len(snapshots.values):
                raise ValueError(
                    f"POD: expected coefficients of {len(snapshots.values)} samples, got "
                    f"{len(lifted)}; give one row for each snapshot"
                )
        error, norm = squared_norms(snapshots, lifted, modes)
        return float(np.sqrt(error / norm)) if norm else (np.inf if error else 0.0)

    def save(self, path: str | Path) -> None:
        """Write `modes` (rank, dof), `singular_values` and `mean` to the npz file `path`.

        On several ranks these are the modes and the mean of this rank's block.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        check_is_fitted(self)
        names = ("modes", "singular_values", "mean")
        arrays: dict[str, Any] = {name: to_numpy(getattr(self, f"{name}_")) for name in names}
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> "POD":
        """Read what `save` wrote; the attributes are tensors.

        Parameters
        ----------
        path
            The npz file.
        device, dtype
            Where the tensors live and their type; None keeps the stored type.

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            The file is not a saved basis.
        """
        stored = {
            name: torch.from_numpy(array).to(device=device, dtype=dtype)
            for name, array in read_arrays(path, ("modes", "singular_values", "mean")).items()
        }
        basis = cls(rank=len(stored["modes"]), centred=bool(stored["mean"].any()))
        basis._store(stored["modes"], stored["singular_values"], stored["mean"])
        return basis

    def __sklearn_tags__(self) -> Any:
        """Declare that float32 stays float32 and that tensors are taken as they are."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.array_api_support = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.modes_)

    def _checked(self, X: Any) -> Float[Tensor, "samples features"]:
        """Return X as a tensor, after checking it and the settings on this rank."""
        require_rules(self.rank, self.tolerance, self.energy)
        if self.method not in METHODS:
            raise ValueError(
                f'reduction.method must be one of {", ".join(METHODS)}, got "{self.method}"; '
                "name one of these"
            )
        snapshots = self._validated(X, is_fitting=True)
        self._require_samples(snapshots)
        return snapshots

    def _require_samples(self, snapshots: Float[Tensor, "samples features"]) -> None:
        if self.centred and len(snapshots) == 1:
            raise ValueError(
                "POD: expected at least 2 samples with reduction.centred, got 1 sample; sample "
                "more snapshots"
            )

    def _require_rank(self, most: int) -> None:
        if self.rank is not None and self.rank > most:
            raise ValueError(
                f"reduction.rank must be <= min(samples, features) = {most}, got {self.rank}; "
                "sample more snapshots or lower the rank"
            )

    def _require_modes(self, available: int) -> None:
        if available == 0:
            raise ValueError(
                "POD: expected snapshots with a non-zero part to decompose, got all zeros; start "
                "sampling once the field moves"
            )

    def _decompose(self, snapshots: Snapshots) -> None:
        self._require_rank(snapshots.smaller_side)
        vectors, sigma = METHODS[self.method](snapshots)
        self._require_modes(len(sigma))
        kept = kept_rank(sigma, self.rank, self.tolerance, self.energy)
        modes, corrected = modes_of(snapshots, vectors[:, :kept], sigma[:kept])
        mean = torch.zeros_like(snapshots.values[0]) if snapshots.mean is None else snapshots.mean
        self._store(modes, torch.cat([corrected, sigma[kept:]]), mean, snapshots.comm)
        if self.rank is not None and self.rank > len(self.singular_values_):
            self._warn_of_noise(len(self.singular_values_))

    def _warn_of_noise(self, available: int) -> None:
        if self.comm_ is None or self.comm_.rank == 0:
            remedy = "" if self.method == "svd" else ', method = "svd" resolves more'
            warnings.warn(
                f"reduction.rank = {self.rank}, but only {available} singular values are above "
                f"the noise; fewer modes are kept{remedy}",
                stacklevel=4,
            )

    def _store(
        self,
        modes: Float[Tensor, "rank features"],
        singular_values: Float[Tensor, " available"],
        mean: Float[Tensor, " features"],
        comm: Any = None,
    ) -> None:
        self.modes_ = modes.contiguous()
        self.singular_values_ = singular_values
        self.energy_ = cumulative_energy(singular_values)
        self.mean_ = mean
        self.n_features_in_ = modes.shape[1]
        self.comm_ = comm

    def _validated(self, X: Any, is_fitting: bool = False) -> Float[Tensor, "samples features"]:
        if not isinstance(X, Tensor):
            dtypes = [np.float64, np.float32]
            return from_numpy(validate_data(self, X, dtype=dtypes, reset=is_fitting))
        require_snapshots(X)
        if not is_fitting and X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but POD is expecting {self.n_features_in_} "
                "features as input; project fields of the grid that the basis was made on"
            )
        if is_fitting:
            require_finite(X)
        return X

    def _on_basis(self, X: Any) -> tuple[Snapshots, Float[Tensor, "rank features"]]:
        """Return snapshots of the fitted features, and the modes in their dtype."""
        values = self._validated(X).detach()
        mean, modes = self._basis(values)
        root = None if self._root is None else self._root.to(values.dtype)
        return Snapshots(values, mean if self.centred else None, comm=self.comm_, root=root), modes

    def _coefficients(self, X: Any) -> Float[Tensor, "samples rank"]:
        coefficients = X if isinstance(X, Tensor) else from_numpy(np.asarray(X))
        rank = len(self.modes_)
        if coefficients.ndim != 2 or coefficients.shape[1] != rank:
            raise ValueError(
                f"POD: expected coefficients of shape (samples, {rank}), got "
                f"{tuple(coefficients.shape)}; give what transform returned"
            )
        return coefficients

    def _basis(self, values: Tensor) -> tuple[Tensor, Tensor]:
        mean, modes = torch.as_tensor(self.mean_), torch.as_tensor(self.modes_)
        if modes.device != values.device:
            raise ValueError(
                f"POD: expected data on {modes.device} as the modes, got {values.device}; move "
                "the data or load the basis with device="
            )
        return mean.to(values.dtype), modes.to(values.dtype)


def features_of_all(comm: Any, snapshots: Float[Tensor, "samples features"]) -> int:
    """Return the number of features of all ranks, whose snapshots must be of the same times."""
    samples, features = snapshots.shape
    if size_of(comm) == 1:
        return features
    kinds, blocks = zip(*comm.allgather(((samples, snapshots.dtype), features)), strict=True)
    if len(set(kinds)) > 1:
        raise ValueError(
            "POD: expected as many snapshots of one dtype on every rank, got "
            f"{', '.join(f'{count} of {dtype}' for count, dtype in kinds)}; sample on all ranks "
            "at the same times"
        )
    return sum(blocks)
