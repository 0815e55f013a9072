"""Relative error, root-mean-square error and R² against scikit-learn and hand-made cases."""

import inspect
import math

import pytest
import torch
from sklearn.metrics import r2_score, root_mean_squared_error

from insitu.metrics import r2, relative_l2, rmse


def pair():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    return truth + 0.1 * torch.randn(20, 3, generator=generator, dtype=torch.float64), truth


def test_r2_is_scikit_learns_weighted_by_variance():
    prediction, truth = pair()
    arrays = truth.numpy(), prediction.numpy()
    expected = r2_score(*arrays, multioutput="variance_weighted")
    assert float(r2(prediction, truth)) == pytest.approx(expected, rel=1e-12)
    each = torch.from_numpy(r2_score(*arrays, multioutput="raw_values"))
    torch.testing.assert_close(r2(prediction, truth, per_mode=True), each)


def test_rmse_is_scikit_learns():
    prediction, truth = pair()
    each = root_mean_squared_error(truth.numpy(), prediction.numpy(), multioutput="raw_values")
    torch.testing.assert_close(rmse(prediction, truth, per_mode=True), torch.from_numpy(each))
    expected = math.sqrt((each**2).mean())
    assert float(rmse(prediction, truth)) == pytest.approx(expected, rel=1e-12)


def test_relative_l2_is_linear_in_the_error():
    _, truth = pair()
    assert float(relative_l2(truth * 1.25, truth)) == pytest.approx(0.25, rel=1e-12)
    scale = torch.tensor([1.0, 0.5, 3.0], dtype=torch.float64)
    torch.testing.assert_close(relative_l2(truth * scale, truth, per_mode=True), abs(scale - 1))


@pytest.mark.parametrize("metric", [r2, relative_l2, rmse])
def test_results_stay_on_dtype(metric):
    prediction, truth = pair()
    assert metric(prediction.float(), truth.float()).dtype == torch.float32


@pytest.mark.parametrize("metric", [r2, relative_l2, rmse])
def test_unequal_shapes_are_not_broadcast(metric):
    prediction, truth = pair()
    with pytest.raises(ValueError, match=rf"{metric.__name__}: expected .* of one shape"):
        inspect.unwrap(metric)(prediction[:1], truth)


def test_a_constant_truth_is_no_division_by_zero():
    zero, one = torch.zeros(4, 2), torch.ones(4, 2)
    assert float(relative_l2(zero, zero)) == 0
    assert float(relative_l2(one, zero)) == math.inf
    assert float(r2(one, one)) == 1
    assert float(r2(zero, one)) == 0
