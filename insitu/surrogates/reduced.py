"""A core whose training is one least-squares fit: a polynomial map between a few modes of the state."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from insitu.surrogates.ridge import Normal, choose_ridge, monomial_count, monomials

__all__ = ["ReducedCore", "leading_modes", "split_of"]


class ReducedCore(nn.Module):
    """The increments of a field as a linear or quadratic polynomial of its leading modes.

    The modes of the inputs, V, and of the increments, W, are those of the training pairs, r of each; with z = Vᵀ(x − x̄) the
    increment is W (c + A z + B (z ⊗ z)). What the modes do not span stays as it is. For a linear equation degree 1 is dynamic
    mode decomposition; degree 2 is discrete operator inference, the form that quadratic equations keep when they are projected.

    Global: every value depends on all points, so ranks cannot share the grid.

    Parameters
    ----------
    values : int
        Components times points.
    rank : int
        r, of the inputs and of the increments.
    degree : int
        Of the polynomial.

    Raises
    ------
    ValueError
        The rank does not lie between 1 and the number of values, or the degree is below 1.

    Source: Peherstorfer & Willcox 2016, doi:10.1016/j.cma.2016.03.025; Tu et al. 2014, doi:10.3934/jcds.2014.1.391.
    """

    center: Tensor
    encoder: Tensor
    decoder: Tensor
    coefficients: Tensor

    def __init__(self, values: int, rank: int, degree: int = 2):
        super().__init__()
        if not 1 <= rank <= values or degree < 1:
            raise ValueError(
                f"reduced core: expected a rank from 1 to {values} and a degree of 1 or more, got {rank}, {degree}; correct them"
            )
        self.rank, self.degree = rank, degree
        for name, shape in (
            ("center", (values,)),
            ("encoder", (values, rank)),
            ("decoder", (rank, values)),
            ("coefficients", (monomial_count(rank, degree), rank)),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def forward(
        self, fields: Float[Tensor, "batch components *points"]
    ) -> Float[Tensor, "batch components *points"]:
        """Return the increments of dimensionless fields."""
        rows = fields.flatten(1).to(self.center.dtype)
        found = self._features(rows) @ self.coefficients @ self.decoder
        return found.to(fields.dtype).view(fields.shape)

    @torch.no_grad()
    def fit(
        self,
        inputs: Float[Tensor, "pairs components *points"],
        increments: Float[Tensor, "pairs components *points"],
        held_out: float = 0.25,
    ) -> float:
        """Fit modes and coefficients to pairs.

        Parameters
        ----------
        inputs, increments : Tensor
            Dimensionless, in order of time; the last part chooses the ridge of the fit, then all are used.
        held_out : float
            That part.

        Returns
        -------
        float
            Root mean square error of the increments on that part, relative to theirs, before it was used.

        Raises
        ------
        ValueError
            There are fewer than four pairs.
        """
        x, y = (each.flatten(1).to(self.center.dtype) for each in (inputs, increments))
        split = split_of(len(x), held_out)
        self._fit_modes(x[:split], y[:split])
        normals = Normal.of(self._features(x[:split]), y[:split] @ self.decoder.T)
        features = self._features(x[split:])
        _, loss = choose_ridge(
            normals, normals, lambda c: (features @ c @ self.decoder - y[split:]).square().sum()
        )
        self._fit_modes(x, y)
        features, targets = self._features(x), y @ self.decoder.T
        normals = Normal.of(features[:split], targets[:split])
        held = features[split:], targets[split:]
        found, _ = choose_ridge(
            normals, normals + Normal.of(*held), lambda c: (held[0] @ c - held[1]).square().sum()
        )
        self.coefficients.copy_(found)
        return float((loss / y[split:].square().sum()).sqrt())

    def _fit_modes(self, x: Tensor, y: Tensor) -> None:
        self.center.copy_(x.mean(0))
        modes, sizes = leading_modes(x - self.center, self.rank)
        self.encoder.copy_((modes / sizes[:, None]).T)
        self.decoder.copy_(leading_modes(y, self.rank)[0])

    def _features(self, rows: Tensor) -> Tensor:
        return monomials((rows - self.center) @ self.encoder, self.degree)


def split_of(pairs: int, held_out: float) -> int:
    """Return how many of the pairs are fitted before the others are looked at.

    Raises
    ------
    ValueError
        There are fewer than four.
    """
    if pairs < 4:
        raise ValueError(
            f"least squares: expected 4 or more pairs, got {pairs}; let the solver make more"
        )
    return pairs - max(1, round(held_out * pairs))


def leading_modes(rows: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the leading right singular vectors of some rows, (rank, values), and the root mean square of their coefficients.

    Vectors that the rows do not hold are 0, of size 1.
    """
    is_wide = len(rows) <= rows.shape[1]
    squares, vectors = torch.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    squares, vectors = squares.flip(0)[:rank], vectors.flip(1)[:, :rank]
    held = squares > torch.finfo(rows.dtype).eps * len(rows) * squares[:1]
    sizes = torch.where(held, squares.clamp(min=0).sqrt(), torch.ones_like(squares))
    modes, root = rows.new_zeros(rank, rows.shape[1]), rows.new_ones(rank)
    right = vectors.T @ rows / sizes[:, None] if is_wide else vectors.T
    modes[: len(sizes)] = torch.where(held[:, None], right, 0.0)
    root[: len(sizes)] = torch.where(held, sizes / len(rows) ** 0.5, 1.0)
    return modes, root
