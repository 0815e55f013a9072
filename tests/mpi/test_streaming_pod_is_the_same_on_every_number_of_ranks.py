"""A streaming POD of snapshots spread over ranks is that of one rank with all of them, and so is its bound."""

import math

import pytest
import torch
from helpers.blocks import COUNTS, are_alike, block, orthonormal

from insitu.reduction import StreamingPOD

pytestmark = pytest.mark.ranks(*COUNTS)
FEATURES = 240
RULES = [{"rank": 6}, {"rank": 6, "oversampling": 0}, {"tolerance": 1e-3}, {"tolerance": 1e-9}]


def snapshots(rank=14):
    """Forty snapshots whose singular values fall by a factor 0.6 each, about a mean."""
    sigma = 100 * 0.6 ** torch.arange(rank, dtype=torch.float64)
    waves = (orthonormal(rank, 40, 1).T * sigma) @ orthonormal(rank, FEATURES, 2)
    return waves + 10 * torch.linspace(1, 2, FEATURES, dtype=torch.float64)


def weights():
    return torch.linspace(0.5, 3, FEATURES, dtype=torch.float64)


def stream(data, mine, comm=None, batches=(7, 16, 1, 16), **settings):
    pod = StreamingPOD(**settings)
    for n, part in enumerate(data.split(list(batches))):
        pod.partial_fit(part[:, mine], comm=comm, weights=None if n else weights()[mine])
    return pod


def angle(modes, others):
    """The largest principal angle between two spaces, by its sine, in the weighted inner product."""
    ours, theirs = modes * weights().sqrt(), others * weights().sqrt()
    beside = theirs - (theirs @ ours.T) @ ours
    return math.asin(min(1.0, float(torch.linalg.matrix_norm(beside, ord=2))))


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("rules", RULES)
def test_bounds_agree_and_angles_are_within_1e_8(comm, centred, rules):
    data, mine = snapshots(), block(comm, FEATURES)
    pod = stream(data, mine, comm, centred=centred, **rules)
    alone = stream(data, slice(None), centred=centred, **rules)
    modes = torch.cat(comm.allgather(pod.modes_), dim=1)
    assert len(modes) == len(alone.modes_) >= 6
    assert angle(alone.modes_, modes) <= 1e-8
    count = len(modes)
    torch.testing.assert_close(
        pod.singular_values_[:count], alone.singular_values_[:count], rtol=1e-10, atol=0
    )
    for name in ("error_bound_", "norm_"):
        assert getattr(pod, name) == pytest.approx(getattr(alone, name), rel=1e-9)
    assert pod.round_off_ == pytest.approx(alone.round_off_, rel=1e-6)
    coefficients = pod.transform(data[:, mine])
    torch.testing.assert_close(coefficients, alone.transform(data), rtol=0, atol=1e-7)
    torch.testing.assert_close(
        pod.inverse_transform(coefficients),
        alone.inverse_transform(alone.transform(data))[:, mine],
        rtol=0,
        atol=1e-7,
    )
    assert pod.projection_error(data[:, mine]) == pytest.approx(
        alone.projection_error(data), rel=1e-7
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_small_has_the_same_bits_everywhere(comm, dtype):
    data, mine = snapshots().to(dtype), block(comm, FEATURES)
    pod = stream(data, mine, comm, tolerance=1e-2, centred=True)
    numbers = [pod.error_bound_, pod.round_off_, pod.norm_, float(pod.n_samples_seen_)]
    small = torch.tensor(numbers, dtype=torch.float64)
    assert are_alike(comm, small, pod.singular_values_, pod.energy_, pod.transform(data[:, mine]))


def test_each_rank_saves_its_block_and_goes_on_with_the_others(comm, tmp_path):
    data, mine = snapshots(), block(comm, FEATURES)
    pod = stream(data[:30], mine, comm, (7, 23), rank=4, centred=True)
    pod.save(tmp_path / "basis.npz")
    again = StreamingPOD.load(tmp_path / "basis.npz", comm=comm)
    for each in (pod, again):
        each.partial_fit(data[30:, mine])
    assert torch.equal(again.modes_, pod.modes_) and again.error_bound_ == pod.error_bound_


@pytest.mark.ranks(2, 3, 4)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda here: here * math.nan, "expected finite snapshots"),
        (lambda here: here[1:], "expected as many snapshots of one dtype on every rank"),
        (lambda here: here[:, 1:], "X has .* features, but POD is expecting"),
    ],
)
def test_what_is_wrong_on_one_rank_is_an_error_on_all_and_changes_nothing(comm, spoil, message):
    here = snapshots()[:, block(comm, FEATURES)]
    pod = StreamingPOD(rank=4).partial_fit(here, comm=comm)
    with pytest.raises(ValueError, match=message):
        pod.partial_fit(spoil(here) if comm.rank == comm.size - 1 else here)
    assert pod.n_samples_seen_ == 40
    assert pod.partial_fit(here).n_samples_seen_ == 80
    with pytest.raises(ValueError, match="finite weights > 0"):
        StreamingPOD().partial_fit(here, comm=comm, weights=here[0] * 0 if comm.rank else None)
