"""The doctor passes a right coupling on a GPU, and finds one whose model writes on a stream of its own."""

import pytest
from helpers.couplings import FAULTS, on_another_stream, right

from insitu.doctor import examine

pytestmark = pytest.mark.gpu


def failed(coupling):
    return {finding.check for finding in examine(coupling) if finding.status == "FAIL"}


def test_a_right_coupling_passes(gpu_device):
    assert failed(right(gpu_device)) == set()


def test_a_stream_of_its_own_is_found(gpu_device):
    assert "model and solver share a stream" in failed(right(gpu_device, write=on_another_stream))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(gpu_device, fault):
    parts, check = FAULTS[fault]
    assert check in failed(right(gpu_device, **parts))
