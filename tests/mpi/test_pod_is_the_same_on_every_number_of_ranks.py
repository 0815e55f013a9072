"""A basis of snapshots spread over ranks is that of one rank with all of them."""

import math

import pytest
import torch
from helpers.blocks import COUNTS, are_alike, block, orthonormal
from helpers.ranks import same_on_all_ranks
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.metrics import r2, relative_l2, rmse
from insitu.reduction import POD

pytestmark = pytest.mark.ranks(2, 3, 4)
METHODS = ["svd", "snapshots"]
DTYPES = [torch.float32, torch.float64]
FEATURES = 240


def separated(time=40, features=FEATURES, rank=12, shift=0.0):
    """Snapshots whose singular values fall by a factor 0.6 each, from 100."""
    sigma = 100 * 0.6 ** torch.arange(rank, dtype=torch.float64)
    left, right = orthonormal(rank, time, 1), orthonormal(rank, features, 2)
    return (left.T * sigma) @ right + shift * torch.linspace(1, 2, features, dtype=torch.float64)


def whole(comm, pod):
    """The modes of all ranks, put together for the sake of comparing them."""
    return torch.cat([torch.as_tensor(modes) for modes in comm.allgather(pod.modes_)], dim=1)


def angle(modes, others):
    """The largest principal angle between two spaces, by its sine."""
    beside = others - (others @ modes.T) @ modes
    return math.asin(min(1.0, float(torch.linalg.matrix_norm(beside, ord=2))))


@pytest.mark.ranks(*COUNTS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_singular_values_to_1e_12_and_angles_to_1e_8(comm, method, shift):
    snapshots = separated(shift=shift)
    settings = {"rank": 10, "method": method, "centred": shift > 0}
    pod = POD(**settings).fit(snapshots[:, block(comm, FEATURES)], comm=comm)
    alone = POD(**settings).fit(snapshots)
    torch.testing.assert_close(
        pod.singular_values_[:10], alone.singular_values_[:10], rtol=1e-12, atol=0
    )
    expected = torch.linalg.svdvals(snapshots - (snapshots.mean(dim=0) if shift else 0))
    torch.testing.assert_close(pod.singular_values_[:10], expected[:10], rtol=1e-12, atol=0)
    modes = whole(comm, pod)
    assert angle(alone.modes_, modes) <= 1e-8
    torch.testing.assert_close(modes, alone.modes_, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        modes @ modes.T, torch.eye(10, dtype=torch.float64), rtol=0, atol=1e-14
    )


@pytest.mark.ranks(*COUNTS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_small_has_the_same_bits_everywhere(comm, method, dtype):
    here = separated().to(dtype)[:, block(comm, FEATURES)]
    pod = POD(rank=6, method=method, centred=True).fit(here, comm=comm)
    coefficients = pod.transform(here)
    errors = torch.tensor([pod.projection_error(here), pod.field_error(coefficients * 1.1, here)])
    assert are_alike(comm, pod.singular_values_, pod.energy_, coefficients, errors)
    assert coefficients.dtype == pod.modes_.dtype == dtype


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("centred", [False, True])
def test_coefficients_fields_and_errors_are_those_of_one_rank(comm, method, centred):
    snapshots, mine = separated(shift=3.0), block(comm, FEATURES)
    pod = POD(rank=6, method=method, centred=centred).fit(snapshots[:, mine], comm=comm)
    alone = POD(rank=6, method=method, centred=centred).fit(snapshots)
    coefficients, expected = pod.transform(snapshots[:, mine]), alone.transform(snapshots)
    torch.testing.assert_close(coefficients, expected, rtol=0, atol=1e-9)
    fields = pod.inverse_transform(coefficients)
    torch.testing.assert_close(
        fields, alone.inverse_transform(expected)[:, mine], rtol=0, atol=1e-9
    )
    error = pod.projection_error(snapshots[:, mine])
    assert error == pytest.approx(alone.projection_error(snapshots), rel=1e-10)
    direct = relative_l2(fields, snapshots[:, mine], comm=comm)
    assert error == pytest.approx(float(direct), rel=1e-10)
    assert pod.field_error(1.1 * coefficients, snapshots[:, mine]) == pytest.approx(
        alone.field_error(1.1 * expected, snapshots), rel=1e-10
    )


@pytest.mark.parametrize("metric", [relative_l2, rmse, r2])
def test_metrics_are_those_of_one_rank(comm, metric):
    truth, mine = separated(shift=3.0), block(comm, FEATURES)
    prediction = truth + torch.linspace(0, 1, FEATURES, dtype=torch.float64)
    value = metric(prediction[:, mine], truth[:, mine], comm=comm)
    assert float(value) == pytest.approx(float(metric(prediction, truth)), rel=1e-12)
    assert are_alike(comm, value)
    each = metric(prediction[:, mine], truth[:, mine], per_mode=True, comm=comm)
    torch.testing.assert_close(each, metric(prediction, truth, per_mode=True)[mine])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rules", [{"energy": 0.99}, {"tolerance": 1e-2}, {}])
def test_as_many_modes_are_kept(comm, method, rules):
    snapshots = separated()
    pod = POD(method=method, **rules).fit(snapshots[:, block(comm, FEATURES)], comm=comm)
    alone = POD(method=method, **rules).fit(snapshots)
    assert len(pod.modes_) == len(alone.modes_)
    assert len(pod.singular_values_) == len(alone.singular_values_) == 12


@pytest.mark.parametrize("method", METHODS)
def test_more_snapshots_than_points(comm, method):
    snapshots = separated(time=90, features=40)
    pod = POD(rank=10, method=method).fit(snapshots[:, block(comm, 40)], comm=comm)
    alone = POD(rank=10, method=method).fit(snapshots)
    torch.testing.assert_close(
        pod.singular_values_[:10], alone.singular_values_[:10], rtol=1e-12, atol=0
    )
    torch.testing.assert_close(whole(comm, pod), alone.modes_, rtol=0, atol=1e-9)


@settings(same_on_all_ranks, max_examples=25)
@given(data=st.data())
def test_however_the_points_are_cut(comm, data):
    time, features = data.draw(st.integers(2, 40)), data.draw(st.integers(comm.size, 150))
    inner = st.integers(1, features - 1)
    cuts = data.draw(st.sets(inner, min_size=comm.size - 1, max_size=comm.size - 1))
    ends = [0, *sorted(cuts), features]
    mine = slice(ends[comm.rank], ends[comm.rank + 1])
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 100)))
    snapshots = torch.randn(time, features, generator=generator, dtype=torch.float64)
    rank = data.draw(st.integers(1, min(time, features)))
    rules = {"rank": rank, "method": data.draw(st.sampled_from(METHODS))}
    pod = POD(**rules).fit(snapshots[:, mine], comm=comm)
    expected = torch.linalg.svdvals(snapshots)[:rank]
    torch.testing.assert_close(
        pod.singular_values_[:rank], expected, rtol=0, atol=1e-13 * float(expected[0])
    )
    alone = POD(**rules).fit(snapshots)
    assert pod.projection_error(snapshots[:, mine]) == pytest.approx(
        alone.projection_error(snapshots), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_modes_are_orthonormal_down_to_the_noise(comm, method, dtype):
    sigma = torch.logspace(0, -12, 20, dtype=torch.float64)
    snapshots = ((orthonormal(20, 30, 3).T * sigma) @ orthonormal(20, FEATURES, 4)).to(dtype)
    pod = POD(method=method).fit(snapshots[:, block(comm, FEATURES)], comm=comm)
    modes, identity = whole(comm, pod), torch.eye(len(pod.modes_), dtype=dtype)
    assert len(modes) >= {"svd": 9, "snapshots": 5}[method]
    torch.testing.assert_close(modes @ modes.T, identity, rtol=0, atol=50 * torch.finfo(dtype).eps)


def test_arrays_stay_arrays(comm):
    here = separated()[:, block(comm, FEATURES)]
    pod, twin = POD(rank=4).fit(here.numpy(), comm=comm), POD(rank=4).fit(here, comm=comm)
    coefficients = pod.transform(here.numpy())
    assert (coefficients == twin.transform(here).numpy()).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda here: here * math.nan, "expected finite snapshots"),
        (lambda here: here[1:], "expected as many snapshots of one dtype on every rank"),
        (lambda here: here.float(), "expected as many snapshots of one dtype on every rank"),
        (lambda here: here[:, :0], "at least one of each"),
    ],
)
def test_what_is_wrong_on_one_rank_is_an_error_on_all(comm, spoil, message):
    here = separated()[:, block(comm, FEATURES)].clone()
    with pytest.raises(ValueError, match=message):
        POD(rank=4).fit(spoil(here) if comm.rank == comm.size - 1 else here, comm=comm)
    pod = POD(rank=4).fit(here, comm=comm)
    with pytest.raises(ValueError, match="X has .* features, but POD is expecting"):
        pod.transform(here[:, 1:] if comm.rank == 1 else here)
    with pytest.raises(ValueError, match="rank must be <= min.samples, features. = 40, got 41"):
        POD(rank=41).fit(here, comm=comm)


def test_each_rank_saves_its_block(comm, tmp_path):
    here = separated()[:, block(comm, FEATURES)]
    pod = POD(rank=2, centred=True).fit(here, comm=comm)
    pod.save(tmp_path / "basis.npz")
    coefficients = pod.transform(here)
    again = POD.load(tmp_path / "basis.npz")
    assert torch.equal(again.inverse_transform(coefficients), pod.inverse_transform(coefficients))
