"""POD reproduces singular values and subspaces that are known without it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insitu.reduction import POD
from insitu.reduction.decompositions import METHODS as FACTORS
from insitu.reduction.decompositions import modes_of, noise_floor
from insitu.reduction.snapshots import Snapshots

METHODS = ["svd", "snapshots"]
DTYPES = [torch.float32, torch.float64]

# REFERENCE: full SVD of the N-wave at Re = 1000 on 2048 points and 200 times.
N_WAVE = [
    98.2085038868171,
    38.35696513779043,
    21.284338802857764,
    14.318958130558773,
    10.59313607802225,
    8.265770892237674,
    6.665012517063265,
    5.49117553617095,
    4.5911375314468055,
    3.878603552601662,
]


def travelling_sine(times, points, dtype=torch.float64):
    x = torch.arange(points, dtype=torch.float64) * (2 * math.pi / points)
    t = torch.arange(times, dtype=torch.float64) * (2 * math.pi / times)
    return torch.sin(x - t[:, None]).to(dtype)


def n_wave(reynolds=1000.0):
    x, t = np.linspace(0, 1, 2048), np.linspace(0, 2, 200)[:, None]
    growth = np.exp(reynolds * x**2 / (4 * t + 4) - reynolds / 16)
    return torch.from_numpy((x / (t + 1)) / (1 + np.sqrt(t + 1) * growth))


def orthonormal(rows, columns, generator):
    return torch.linalg.qr(torch.randn(columns, rows, generator=generator, dtype=torch.float64)).Q.T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("times", "points"), [(40, 64), (64, 40)])
def test_travelling_sine_has_one_pair(method, dtype, times, points):
    snapshots = travelling_sine(times, points, dtype)
    pod = POD(rank=2, method=method).fit(snapshots)
    expected = torch.full((2,), math.sqrt(times * points) / 2, dtype=dtype)
    torch.testing.assert_close(pod.singular_values_[:2], expected)
    assert pod.projection_error(snapshots) < 50 * torch.finfo(dtype).eps


@pytest.mark.parametrize("method", METHODS)
def test_lower_triangular_ones_have_a_closed_form(method):
    n = 60
    k = torch.arange(1, n + 1, dtype=torch.float64)
    expected = 1 / (2 * torch.sin((2 * k - 1) * math.pi / (2 * (2 * n + 1))))
    pod = POD(method=method).fit(torch.ones(n, n, dtype=torch.float64).tril())
    torch.testing.assert_close(pod.singular_values_, expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_n_wave_has_the_published_values(method):
    snapshots = n_wave()
    expected = torch.tensor(N_WAVE, dtype=torch.float64)
    pod = POD(rank=10, method=method).fit(snapshots)
    torch.testing.assert_close(pod.singular_values_[:10], expected, rtol=1e-11, atol=0)


def test_both_methods_span_the_same_space_and_the_coefficients_agree():
    snapshots = n_wave()
    direct, gram = (POD(rank=5, method=method).fit(snapshots) for method in METHODS)
    overlap = torch.linalg.svdvals(direct.modes_ @ gram.modes_.T)
    torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=1e-12)
    torch.testing.assert_close(gram.transform(snapshots), direct.transform(snapshots))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_modes_are_orthonormal_down_to_the_noise(method, dtype):
    generator = torch.Generator().manual_seed(0)
    sigma = torch.logspace(0, -12, 20, dtype=torch.float64)
    left, right = orthonormal(20, 30, generator), orthonormal(20, 90, generator)
    pod = POD(method=method).fit(((left.T * sigma) @ right).to(dtype))
    gram = pod.modes_ @ pod.modes_.T
    identity = torch.eye(len(gram), dtype=dtype)
    torch.testing.assert_close(gram, identity, rtol=0, atol=50 * torch.finfo(dtype).eps)


def test_snapshots_stop_at_the_noise_of_the_gram_matrix():
    generator = torch.Generator().manual_seed(0)
    sigma = torch.tensor([1.0, 1e-3, 1e-5, 1e-9, 1e-10], dtype=torch.float64)
    left, right = orthonormal(5, 30, generator), orthonormal(5, 90, generator)
    snapshots = (left.T * sigma) @ right
    gram = POD(method="snapshots").fit(snapshots)
    assert len(gram.modes_) == len(gram.singular_values_) == 3
    assert gram.singular_values_[-1] > noise_floor(30, torch.float64) * gram.singular_values_[0]
    torch.testing.assert_close(POD().fit(snapshots).singular_values_[:5], sigma, rtol=1e-5, atol=0)
    with pytest.warns(UserWarning, match="only 3 singular values"):
        POD(rank=4, method="snapshots").fit(snapshots)


def test_the_correction_lends_the_gram_matrix_the_accuracy_of_the_svd():
    generator = torch.Generator().manual_seed(0)
    sigma = torch.logspace(0, -4, 9, dtype=torch.float64)
    snapshots = (orthonormal(9, 30, generator).T * sigma) @ orthonormal(9, 90, generator)
    plain = FACTORS["snapshots"](Snapshots(snapshots, None, 90))[1]
    assert ((plain / sigma - 1).abs() > 1e-10).any()
    corrected = POD(method="snapshots").fit(snapshots).singular_values_
    torch.testing.assert_close(corrected, sigma, rtol=2e-12, atol=0)


def test_a_mode_that_depends_on_the_others_is_dropped():
    snapshots = Snapshots(n_wave(), None, 2048)
    vectors, sigma = (part[..., [0, 1, 1]] for part in FACTORS["svd"](snapshots))
    modes, corrected = modes_of(snapshots, vectors, sigma)
    assert len(modes) == len(corrected) == 2
    torch.testing.assert_close(modes @ modes.T, torch.eye(2, dtype=torch.float64))


def test_parts_of_the_data_make_the_whole():
    values = torch.arange(3 * 200_000.0).reshape(3, 200_000)
    mean = values.mean(dim=0)
    parts = list(Snapshots(values, mean, 200_000).parts())
    assert len(parts) > 1
    assert torch.equal(torch.cat([part for _, part in parts], dim=1), values - mean)
    assert torch.equal(torch.cat([mean[columns] for columns, _ in parts]), mean)


@pytest.mark.parametrize("method", METHODS)
def test_the_first_large_coefficient_of_a_mode_is_positive(method):
    snapshots = n_wave()
    positive, negative = (POD(rank=5, method=method).fit(sign * snapshots) for sign in (1, -1))
    torch.testing.assert_close(positive.modes_, -negative.modes_)
    for coefficients in positive.transform(snapshots).T:
        first = (coefficients.abs() > 2 / 3 * coefficients.abs().max()).nonzero()[0]
        assert coefficients[first] > 0


def test_centring_removes_the_mean():
    snapshots = travelling_sine(40, 64) + 7.0
    pod = POD(rank=2, centred=True).fit(snapshots)
    torch.testing.assert_close(pod.mean_, torch.full((64,), 7.0, dtype=torch.float64))
    torch.testing.assert_close(pod.inverse_transform(pod.transform(snapshots)), snapshots)
    assert POD(rank=2).fit(snapshots).projection_error(snapshots) > 1e-2


def test_centred_coefficients_have_no_mean():
    snapshots = travelling_sine(40, 64) + travelling_sine(40, 64)[5] + 7.0
    pod = POD(rank=2, centred=True)
    mean = pod.fit_transform(snapshots).mean(dim=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 80), (80, 5)])
def test_the_smaller_gram_matrix_is_decomposed(shape, monkeypatch):
    sizes, eigh = [], torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda gram: sizes.append(gram.shape) or eigh(gram))
    POD(method="snapshots").fit(torch.ones(shape))
    assert sizes == [(5, 5)]


@given(
    sigma=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=12),
    tolerance=st.floats(1e-3, 0.9),
    energy=st.floats(0.1, 0.999),
    cap=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_the_smallest_rank_that_meets_every_rule_is_kept(sigma, tolerance, energy, cap, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor(sorted(sigma, reverse=True), dtype=torch.float64)
    rank = len(values)
    snapshots = (orthonormal(rank, 15, generator).T * values) @ orthonormal(rank, 20, generator)

    def tail(r):
        return float(values[r:].square().sum().sqrt() / values.square().sum().sqrt())

    # A rule that holds with equality may fall either way by round-off.
    slack = 1e-9
    kept = len(POD(tolerance=tolerance, energy=energy).fit(snapshots).modes_)
    assert tail(kept) <= tolerance + slack
    assert 1 - tail(kept) ** 2 >= energy - slack
    fewer = kept - 1
    is_too_few = tail(fewer) > tolerance - slack or 1 - tail(fewer) ** 2 < energy + slack
    assert fewer == 0 or is_too_few
    capped = POD(rank=cap, tolerance=tolerance, energy=energy).fit(snapshots)
    assert len(capped.modes_) == min(kept, cap)


def test_the_projection_error_is_the_tail_of_the_spectrum():
    snapshots = n_wave()
    pod = POD(rank=4).fit(snapshots)
    sigma = pod.singular_values_
    tail = float(sigma[4:].square().sum().sqrt() / sigma.square().sum().sqrt())
    assert pod.projection_error(snapshots) == pytest.approx(tail, rel=1e-10)
    assert float(pod.energy_[3]) == pytest.approx(1 - tail**2, rel=1e-12)
