"""A streaming POD obeys scikit-learn's rules for transformers, in one go and in batches, and its state travels."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from insitu.reduction import POD, StreamingPOD

PUBLIC = ("modes_", "singular_values_", "energy_", "mean_", "weights_")


def snapshots(dtype=torch.float64, count=12):
    return torch.randn(count, 30, dtype=dtype, generator=torch.Generator().manual_seed(0))


def weights(dtype=torch.float64):
    return torch.linspace(1, 3, 30, dtype=dtype)


@parametrize_with_checks([StreamingPOD(), StreamingPOD(centred=True), StreamingPOD(tolerance=0.1)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_tensors_and_arrays_give_arrays_of_the_same_values(dtype):
    pod, twin = (StreamingPOD(rank=4, centred=True) for _ in range(2))
    for part in snapshots(dtype).split(5):
        pod.partial_fit(part, weights=weights(dtype) if not hasattr(pod, "modes_") else None)
        twin.partial_fit(
            part.numpy(), weights=None if hasattr(twin, "modes_") else weights(dtype).numpy()
        )
    for name in PUBLIC:
        tensor, array = getattr(pod, name), getattr(twin, name)
        assert isinstance(tensor, torch.Tensor) and isinstance(array, np.ndarray)
        assert tensor.dtype == dtype
        np.testing.assert_array_equal(array, tensor.numpy())
    coefficients = pod.transform(snapshots(dtype))
    assert coefficients.dtype == dtype and coefficients.shape == (12, 4)
    np.testing.assert_array_equal(twin.transform(snapshots(dtype).numpy()), coefficients.numpy())
    lifted = pod.inverse_transform(coefficients)
    np.testing.assert_array_equal(twin.inverse_transform(coefficients.numpy()), lifted.numpy())
    again = pod.transform(lifted)
    torch.testing.assert_close(again, coefficients)


def test_fit_forgets_and_partial_fit_does_not():
    pod = StreamingPOD(rank=3).partial_fit(snapshots()).partial_fit(2 * snapshots())
    assert pod.n_samples_seen_ == 24
    assert pod.norm_ == pytest.approx(5**0.5 * float(snapshots().norm()))
    pod.fit(snapshots())
    fresh = StreamingPOD(rank=3).fit(snapshots())
    assert pod.n_samples_seen_ == 12 and torch.equal(pod.modes_, fresh.modes_)


def test_a_fit_is_reproducible_to_the_bit_and_leaves_its_input():
    data, pods = snapshots(), [StreamingPOD(rank=3, centred=True) for _ in range(2)]
    before = data.clone()
    for pod in pods:
        for part in data.split(5):
            pod.partial_fit(part)
    assert torch.equal(data, before)
    assert torch.equal(pods[0].modes_, pods[1].modes_)
    assert pods[0].error_bound_ == pods[1].error_bound_


def test_a_batch_never_changes_what_was_given_out():
    """A shallow copy of a reduction goes on by itself."""
    pod = StreamingPOD(rank=3, centred=True).partial_fit(snapshots()[:6])
    modes, mean, coefficients = pod.modes_.clone(), pod.mean_.clone(), pod.transform(snapshots())
    further = copy.copy(pod).partial_fit(snapshots()[6:])
    assert further.n_samples_seen_ == 12 and pod.n_samples_seen_ == 6
    assert torch.equal(pod.modes_, modes) and torch.equal(pod.mean_, mean)
    assert torch.equal(pod.transform(snapshots()), coefficients)
    assert not torch.equal(further.modes_, modes)


def test_a_field_at_rest_has_no_modes_yet():
    pod = StreamingPOD(rank=3, tolerance=1e-3).partial_fit(0 * snapshots())
    assert pod.transform(snapshots()).shape == (12, 0) and pod.error_bound_ == 0
    pod.partial_fit(snapshots())
    assert len(pod.modes_) == 3 and pod.n_samples_seen_ == 24


def test_single_snapshots_may_be_a_batch_about_their_mean():
    pod = StreamingPOD(centred=True)
    for snapshot in snapshots():
        pod.partial_fit(snapshot[None])
    whole = POD(centred=True).fit(snapshots())
    torch.testing.assert_close(pod.singular_values_, whole.singular_values_[:11])
    torch.testing.assert_close(pod.mean_, whole.mean_)


@pytest.mark.parametrize("way", ["file", "state", "pickle"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_a_restored_state_goes_on_bitwise_the_same(tmp_path, way, dtype, weighted, centred):
    data = snapshots(dtype, 40)
    pod = StreamingPOD(rank=4, tolerance=1e-3, centred=centred, oversampling=3)
    pod.partial_fit(data[:25], weights=weights(dtype) if weighted else None)
    if way == "file":
        pod.save(tmp_path / "basis.npz")
        again = StreamingPOD.load(tmp_path / "basis.npz")
        assert again.get_params() == pod.get_params()
    elif way == "pickle":
        again = pickle.loads(pickle.dumps(pod))
    else:
        torch.save(pod.state_dict(), tmp_path / "state.pt")
        again = clone(pod)
        again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        for name in PUBLIC:
            ours, theirs = getattr(again, name), getattr(pod, name)
            assert ours is theirs is None or torch.equal(ours, theirs)
        for name in ("error_bound_", "round_off_", "norm_", "n_samples_seen_", "n_features_in_"):
            assert getattr(again, name) == getattr(pod, name)
        pod.partial_fit(data[25:])
        again.partial_fit(data[25:])


def test_the_file_is_also_that_of_a_pod(tmp_path):
    pod = StreamingPOD(rank=4, centred=True).fit(snapshots())
    pod.save(tmp_path / "basis.npz")
    plain = POD.load(tmp_path / "basis.npz")
    assert torch.equal(plain.transform(snapshots()), pod.transform(snapshots()))
    plain.save(tmp_path / "plain.npz")
    with pytest.raises(ValueError, match="expected an npz file with modes, settings, state_modes"):
        StreamingPOD.load(tmp_path / "plain.npz")


def test_it_works_in_a_pipeline_with_names_of_its_outputs():
    pipeline = make_pipeline(StreamingPOD(rank=2), StandardScaler()).fit(snapshots().numpy())
    assert pipeline.transform(snapshots().numpy()).shape == (12, 2)
    assert list(pipeline[0].get_feature_names_out()) == ["streamingpod0", "streamingpod1"]


@pytest.mark.parametrize(
    ("pod", "data", "message"),
    [
        (StreamingPOD(rank=0), snapshots(), "rank must be >= 1, got 0"),
        (StreamingPOD(tolerance=1.0), snapshots(), "tolerance must be in"),
        (StreamingPOD(energy=0.0), snapshots(), "energy must be in"),
        (StreamingPOD(absolute_tolerance=-1.0), snapshots(), "absolute_tolerance must be >= 0"),
        (StreamingPOD(oversampling=-1), snapshots(), "oversampling must be >= 0, got -1"),
        (StreamingPOD(omega=1.0), snapshots(), r"omega must be in \(0, 1\), got 1.0"),
        (StreamingPOD(), snapshots() * float("nan"), "got NaN or infinity"),
        (StreamingPOD(), snapshots()[0], "got .30,."),
    ],
)
def test_bad_input_is_one_sentence(pod, data, message):
    for method in (pod.fit, pod.partial_fit):
        with pytest.raises(ValueError, match=message):
            method(data)


@pytest.mark.parametrize(
    ("pod", "data", "message"),
    [
        (StreamingPOD(rank=13), snapshots(), "min.samples, features. = 12, got 13"),
        (StreamingPOD(), snapshots() * 0, "got all zeros"),
        (StreamingPOD(centred=True), snapshots()[:1], "got 1 sample"),
    ],
)
def test_fit_alone_needs_enough_to_decompose(pod, data, message):
    with pytest.raises(ValueError, match=message):
        pod.fit(data)
    pod.partial_fit(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (snapshots()[:, 1:], "X has 29 features, but POD is expecting 30"),
        (snapshots() * float("inf"), "got NaN or infinity"),
        (snapshots().float(), "expected a batch of torch.float64 on cpu as those before"),
        (snapshots().numpy()[:, 1:], "X has 29 features, but StreamingPOD is expecting 30"),
    ],
)
def test_a_batch_unlike_those_before_is_refused_and_changes_nothing(data, message):
    pod = StreamingPOD(rank=2).partial_fit(snapshots())
    before = pod.state_dict()
    with pytest.raises(ValueError, match=message):
        pod.partial_fit(data)
    assert all(pod.state_dict()[name] is before[name] for name in ("modes", "singular_values"))
    assert pod.n_samples_seen_ == 12


@pytest.mark.parametrize(
    "given", [torch.ones(29), -weights(), 0 * weights(), weights() * float("nan"), torch.ones(0)]
)
def test_weights_that_are_no_volumes_are_refused(given):
    with pytest.raises(ValueError, match="expected 30 finite weights > 0"):
        StreamingPOD().partial_fit(snapshots(), weights=given)
    pod = StreamingPOD().partial_fit(snapshots(), weights=weights())
    with pytest.raises(ValueError, match="expected weights with the first batch only"):
        pod.partial_fit(snapshots(), weights=weights())


def test_integer_tensors_are_refused():
    with pytest.raises(TypeError, match=r"got torch\.int64"):
        StreamingPOD().partial_fit(torch.ones(3, 4, dtype=torch.int64))
