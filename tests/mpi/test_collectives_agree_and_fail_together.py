"""What ranks compute together has the same bits on all of them, and what fails on one is raised by all."""

import pytest
import torch
from helpers.blocks import are_alike

from insitu.collectives import fold, on_first, together, total, total_on_first, transfers

CPU = torch.device("cpu")


class Unportable(Exception):
    """An exception that cannot be rebuilt from its arguments."""

    def __init__(self, left, right):
        super().__init__(f"{left} and {right}")


def thirds(comm, dtype):
    return (torch.arange(6).reshape(2, 3).to(torch.float64) / 3 + comm.rank).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_a_total_is_the_sum_and_the_same_everywhere(comm, dtype):
    summed = total(comm, thirds(comm, dtype))
    expected = sum(thirds(type("Rank", (), {"rank": rank}), dtype) for rank in range(comm.size))
    torch.testing.assert_close(summed, expected)
    assert summed.dtype == dtype
    assert are_alike(comm, summed)
    first = total_on_first(comm, thirds(comm, dtype))
    torch.testing.assert_close(first, expected if comm.rank == 0 else thirds(comm, dtype))


def test_strided_and_differentiable_tensors_are_summed_by_their_values(comm):
    values = thirds(comm, torch.float64)
    strided, leaf = values.T, values.clone().requires_grad_()
    summed = total(comm, values)
    assert torch.equal(total(comm, strided), summed.T)
    assert torch.equal(total(comm, leaf), summed)
    assert torch.equal(values, thirds(comm, torch.float64))


@pytest.mark.ranks(2, 3, 4)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64, torch.int32])
def test_a_dtype_that_mpi_may_sum_wrongly_is_refused(comm, dtype):
    with pytest.raises(TypeError, match=f"expected float32, float64 or int64, got {dtype}"):
        total(comm, torch.ones(2, dtype=dtype))


def test_a_fold_keeps_the_order_of_the_ranks(comm):
    own = torch.full((comm.rank + 1, 2), float(comm.rank))
    folded = fold(comm, own, lambda lower, upper: torch.cat([lower, upper]))
    if comm.rank == 0:
        assert folded[:, 0].tolist() == [r for r in range(comm.size) for _ in range(r + 1)]


def test_nothing_is_staged_in_host_memory(comm):
    total(comm, torch.ones(3))
    assert transfers() == {"host_to_device": 0, "device_to_host": 0}


def test_the_first_rank_computes_for_all(comm):
    computed = []

    def compute():
        computed.append(comm.rank)
        return {"weights": torch.rand(3), "epochs": 3}

    result = on_first(comm, compute, CPU)
    assert computed == ([0] if comm.rank == 0 else [])
    assert result["epochs"] == 3
    assert are_alike(comm, result["weights"])


@pytest.mark.parametrize(
    ("error", "received"),
    [(ValueError("no"), ValueError), (SystemExit(3), SystemExit), (Unportable(1, 2), RuntimeError)],
)
def test_what_the_first_rank_raises_all_raise(comm, error, received):
    def fail():
        raise error

    with pytest.raises(BaseException, match=str(error)) as caught:
        on_first(comm, fail, CPU)
    assert type(caught.value) is (type(error) if comm.rank == 0 else received)
    assert comm.allreduce(1) == comm.size


@pytest.mark.ranks(2, 3, 4)
def test_a_rank_raises_its_own_error_or_that_of_the_lowest(comm):
    with pytest.raises(ValueError) as caught, together(comm):
        if comm.rank > 0:
            raise ValueError(f"rank {comm.rank}")
    assert str(caught.value) == f"rank {max(1, comm.rank)}"
    with together(comm):
        pass


def test_without_a_communicator_nothing_is_sent():
    values = torch.ones(2, dtype=torch.bfloat16)
    assert total(None, values) is values
    assert fold(None, values, torch.add) is values
    assert on_first(None, lambda: values, CPU) is values
    with pytest.raises(KeyError), together(None):
        raise KeyError
