"""POD obeys scikit-learn's rules for transformers, and tensors stay tensors."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from insitu.reduction import POD


def snapshots(dtype=torch.float64):
    return torch.randn(12, 30, dtype=dtype, generator=torch.Generator().manual_seed(0))


@parametrize_with_checks([POD(), POD(method="snapshots"), POD(centred=True)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("method", ["svd", "snapshots"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_tensors_and_arrays_give_arrays_of_the_same_values(method, dtype):
    data = snapshots(dtype)
    pod, twin = POD(rank=4, method=method), POD(rank=4, method=method)
    coefficients, array = pod.fit_transform(data), twin.fit_transform(data.numpy())
    for tensor in (coefficients, pod.modes_, pod.singular_values_, pod.mean_, pod.energy_):
        assert isinstance(tensor, torch.Tensor)
        assert tensor.dtype == dtype
    for name in ("modes_", "singular_values_", "mean_", "energy_"):
        assert isinstance(getattr(twin, name), np.ndarray)
    assert array.dtype == data.numpy().dtype
    np.testing.assert_array_equal(array, coefficients.numpy())
    np.testing.assert_array_equal(twin.inverse_transform(array), pod.inverse_transform(array))


def test_the_input_is_untouched():
    data = snapshots()
    before = data.clone()
    POD(rank=3, centred=True).fit_transform(data)
    assert torch.equal(data, before)


def test_a_basis_fitted_in_double_keeps_single_precision_data_single():
    pod = POD(rank=3).fit(snapshots())
    coefficients = pod.transform(snapshots(torch.float32))
    assert coefficients.dtype == pod.inverse_transform(coefficients).dtype == torch.float32


def test_it_works_in_a_pipeline_with_names_of_its_outputs():
    data = snapshots().numpy()
    pipeline = make_pipeline(POD(rank=3), StandardScaler()).fit(data)
    assert pipeline.transform(data).shape == (12, 3)
    assert list(pipeline[0].get_feature_names_out()) == ["pod0", "pod1", "pod2"]


@pytest.mark.parametrize("centred", [False, True])
def test_a_saved_basis_projects_bitwise_the_same(tmp_path, centred):
    data = snapshots()
    pod = POD(rank=4, centred=centred).fit(data)
    pod.save(tmp_path / "basis.npz")
    with np.load(tmp_path / "basis.npz") as stored:
        assert sorted(stored) == ["mean", "modes", "singular_values"]
        assert stored["modes"].shape == (4, 30)
    again = POD.load(tmp_path / "basis.npz")
    assert again.centred == centred
    assert torch.equal(again.transform(data), pod.transform(data))
    assert torch.equal(again.energy_, pod.energy_)
    single = POD.load(tmp_path / "basis.npz", dtype=torch.float32)
    assert single.modes_.dtype == torch.float32


def test_a_file_that_is_no_basis_is_refused(tmp_path):
    path = tmp_path / "basis.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="expected an npz file with modes"):
        POD.load(path)
    np.savez(path, modes=np.eye(3))
    with pytest.raises(ValueError, match="expected an npz file with modes"):
        POD.load(path)
    np.save(tmp_path / "array.npy", np.eye(3))
    with pytest.raises(ValueError, match="expected an npz file with modes"):
        POD.load(tmp_path / "array.npy")


@pytest.mark.parametrize(
    ("pod", "data", "message"),
    [
        (POD(rank=0), snapshots(), "rank must be >= 1, got 0"),
        (POD(rank=13), snapshots(), "min.samples, features. = 12, got 13"),
        (POD(tolerance=1.0), snapshots(), "tolerance must be in"),
        (POD(energy=0.0), snapshots(), "energy must be in"),
        (POD(method="qr"), snapshots(), 'one of svd, snapshots, got "qr"'),
        (POD(), snapshots() * 0, "got all zeros"),
        (POD(method="snapshots"), snapshots() * 0, "got all zeros"),
        (POD(), snapshots() * float("nan"), "got NaN or infinity"),
        (POD(), snapshots()[0], "got .30,."),
        (POD(centred=True), snapshots()[:1], "got 1 sample"),
    ],
)
def test_bad_input_is_one_sentence(pod, data, message):
    with pytest.raises(ValueError, match=message):
        pod.fit(data)


def test_integer_tensors_are_refused():
    with pytest.raises(TypeError, match=r"got torch\.int64"):
        POD().fit(torch.ones(3, 4, dtype=torch.int64))


def test_other_sizes_are_refused():
    pod = POD(rank=2).fit(snapshots())
    with pytest.raises(ValueError, match="X has 29 features, but POD is expecting 30"):
        pod.transform(snapshots()[:, 1:])
    with pytest.raises(ValueError, match=r"expected coefficients of shape \(samples, 2\)"):
        pod.inverse_transform(snapshots())


def test_data_on_another_device_is_refused_not_copied():
    pod = POD(rank=2).fit(snapshots())
    with pytest.raises(ValueError, match="expected data on cpu as the modes, got meta"):
        pod.transform(snapshots().to("meta"))
