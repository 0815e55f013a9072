"""What has been learnt from an application's snapshots, and forecasts of its fields."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from insitu.application.fields import Fields
from insitu.application.recording import Recording
from insitu.application.times import require_equal_intervals, require_finite
from insitu.bridge import on_stream
from insitu.collectives import on_first, together
from insitu.config import CaseError, Learning
from insitu.forecasting import SplitResult
from insitu.pipeline import learn
from insitu.report import Report
from insitu.timing import Ledger

__all__ = ["Results"]


class Results:
    """The results of each split of the snapshots held; all ranks make the same calls.

    Parameters
    ----------
    settings
        The case's learning.
    """

    def __init__(self, settings: Learning):
        self._settings = settings
        self._splits: dict[str, SplitResult] = {}
        self._taken = 0

    @property
    def first(self) -> SplitResult:
        """The result of the case's first split.

        Raises
        ------
        CaseError
            Nothing has been learnt yet.
        """
        if not self._splits:
            raise CaseError("results come with learning, nothing has been learnt; call learn first")
        return self._splits[self._settings.splits[0]]

    def learn(
        self, recording: Recording, fields: Fields, report: Report, ledger: Ledger
    ) -> dict[str, SplitResult]:
        """Return the results for the snapshots held, which are learnt from where there are new ones; see `InSitu.learn`."""
        sampler = recording.sampler
        if self._taken == sampler.taken and self._splits:
            return self._splits
        recording.pause()
        with on_stream(fields.device):
            with ledger.stage("check"), together(fields.comm):
                require_equal_intervals(sampler.moments)
                require_finite(sampler.snapshots, sampler.moments)
            settings = replace(self._settings, reduction=recording.reduction())
            self._splits = learn(settings, sampler.snapshots, report, ledger, comm=fields.comm)
        self._taken = sampler.taken
        return self._splits

    def forecast(
        self, fields: Fields, ahead: int, name: str | None
    ) -> Float[Tensor, "components ..."]:
        """Return a field's forecast on this rank's block, or that of the whole state; see `InSitu.forecast`."""
        result = self.first
        if ahead < 1:
            raise CaseError(f"a forecast goes 1 or more snapshots ahead, got {ahead}; correct it")
        model = next(iter(result.forecasts.values())).model
        newest = result.coefficients[-model.history :]
        rolled = on_first(
            fields.comm, lambda: model.forecast(newest, ahead)[-1:], result.coefficients.device
        )
        state = result.basis.inverse_transform(rolled).reshape(fields.u.shape)
        return state if name is None else state[fields.components_of(name)]
