import pytest
from helpers.random_memory import RandomMemory


@pytest.mark.parametrize("seed", range(5))
def test_two_thousand_random_operations_equal_the_model(device, seed):
    RandomMemory(device, seed, use_torch=device.is_host).run(2000)
