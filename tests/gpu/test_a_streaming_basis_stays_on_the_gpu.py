"""A streaming POD of snapshots on a GPU is that of the host, its memory is the GPU's and as bounded there."""

import pytest
import torch

from insitu.reduction import StreamingPOD

pytestmark = pytest.mark.gpu


def waves(first, count, features, dtype):
    times = 0.01 * torch.arange(first, first + count, dtype=torch.float64)[:, None]
    x = torch.linspace(0, 6, features, dtype=torch.float64)
    return sum(0.5**k * torch.sin(k * (x - times)) for k in range(1, 13)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rules", [{"rank": 6}, {"tolerance": 1e-3}])
def test_basis_and_bound_are_those_of_the_host(dtype, rules):
    here, there = (StreamingPOD(centred=True, **rules) for _ in range(2))
    weights = torch.linspace(1, 2, 5000, dtype=dtype)
    for n in range(6):
        batch = waves(20 * n, 20, 5000, dtype)
        here.partial_fit(batch, weights=None if n else weights)
        there.partial_fit(batch.cuda(), weights=None if n else weights.cuda())
    for name in ("modes_", "singular_values_", "mean_", "weights_", "energy_"):
        assert getattr(there, name).device.type == "cuda"
    accuracy = 1e-8 if dtype == torch.float64 else 1e-3
    torch.testing.assert_close(there.modes_.cpu(), here.modes_, rtol=0, atol=accuracy)
    assert there.error_bound_ == pytest.approx(here.error_bound_, rel=accuracy)
    assert there.transform(batch.cuda()).device.type == "cuda"


def test_memory_is_flat_from_100_to_10000_snapshots():
    pod, features = StreamingPOD(rank=6, centred=True), 20_000
    for n in range(100):
        pod.partial_fit(waves(100 * n, 100, features, torch.float32).cuda())
        if n == 0:
            first = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
        if n == 1:
            peak = torch.cuda.max_memory_allocated()
    assert torch.cuda.memory_allocated() - first < 20 * features * 4
    assert torch.cuda.max_memory_allocated() - peak < 20 * features * 4
