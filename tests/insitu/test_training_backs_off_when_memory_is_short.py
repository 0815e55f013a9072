"""Out of memory halves the batch, then skips the step; the gradient stays that of the whole batch and the run goes on."""

import pytest
import torch
from helpers.processes import output_of
from torch import nn

from insitu.online import Online, OnlineTrainer, TimeBlocks
from insitu.online.memory import is_out_of_memory
from insitu.training import seeded

CPU = torch.device("cpu")


class Limited(nn.Module):
    """A network that cannot take more than `most` pairs at once, forward or backward."""

    def __init__(self, most, backward=False):
        super().__init__()
        self.layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular")
        self.most, self.backward, self.sizes = most, backward, []

    def forward(self, states):
        self.sizes.append(len(states))
        outputs = states + self.layer(states)
        if len(states) > self.most:
            if not self.backward:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 byte")
            outputs.register_hook(self._refuse)
        return outputs

    def _refuse(self, gradient):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 byte")


def trainer_of(most, backward=False, optimizer=torch.optim.SGD, **changes):
    with seeded(0, CPU):
        model = Limited(most, backward)
    values = {"batch_size": 16, "capacity": 32, "warm_up": 4, "validation": TimeBlocks(0.0)}
    settings = Online(model, optimizer=lambda w: optimizer(w, lr=0.1), **(values | changes))
    trainer = OnlineTrainer(settings, CPU, torch.float64)
    x = torch.linspace(0, 6.28, 24, dtype=torch.float64)
    for sample in range(20):
        trainer.offer(sample, torch.sin(x - 0.1 * sample)[None, None])
    return trainer


def weights(trainer):
    return torch.cat([weight.detach().flatten() for weight in trainer.module.parameters()])


@pytest.mark.parametrize("backward", [False, True])
def test_a_batch_twice_too_large_is_halved_once_and_the_gradient_stays(backward):
    free, short = trainer_of(16), trainer_of(8, backward)
    for step in range(5):
        expected, found = free.step(), short.step()
        assert found == pytest.approx(float(expected), rel=1e-13), step
    assert torch.allclose(weights(free), weights(short), rtol=1e-13, atol=0)
    assert short.module.sizes == [16, 8, 8] + [8, 8] * 4
    assert (short.record.backoffs, short.record.skipped, short.record.steps) == (1, 0, 5)


def test_a_batch_goes_down_to_single_pairs():
    trainer = trainer_of(1)
    assert trainer.step() is not None
    assert trainer.module.sizes == [16, 8, 4, 2, *[1] * 16]
    assert trainer.record.backoffs == 4


def test_what_never_fits_is_skipped_and_changes_nothing():
    trainer = trainer_of(0)
    before = weights(trainer)
    assert [trainer.step() for _ in range(3)] == [None] * 3
    assert torch.equal(weights(trainer), before)
    assert (trainer.record.skipped, trainer.record.steps) == (3, 0)
    assert all(weight.grad is None for weight in trainer.module.parameters())


class Greedy(torch.optim.SGD):
    """An optimizer that has no memory for its first step."""

    def step(self, closure=None):
        if not self.state.get("warned"):
            self.state["warned"] = True
            raise torch.OutOfMemoryError("CUDA out of memory")
        super().step(closure)


def test_an_optimizer_without_memory_skips_its_step():
    trainer = trainer_of(16, optimizer=Greedy)
    assert trainer.step() is None
    assert trainer.record.skipped == 1
    trainer.optimizer.state["warned"] = True
    assert trainer.step() is not None


def test_other_errors_are_not_swallowed():
    trainer = trainer_of(16)
    trainer.descent.loss = lambda outputs, targets: torch.zeros(2) @ torch.zeros(3)
    with pytest.raises(RuntimeError, match="size"):
        trainer.step()


def test_short_memory_is_told_from_other_errors():
    assert is_out_of_memory(torch.OutOfMemoryError("x")) and is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


FULL = """
import resource, torch
from torch import nn
torch.set_num_threads(1)
from insitu.online import Online, OnlineTrainer, TimeBlocks
class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift, self.lower = nn.Conv1d(1, 64, 1), nn.Conv1d(64, 1, 1)
    def forward(self, states):
        return states + self.lower(torch.tanh(self.lift(states)))
x = torch.linspace(0, 6.28, 4096)
field = 64 * 4096 * 4  # bytes of one hidden field of one pair
def train(fields):
    settings = Online(Wide(), batch_size=64, capacity=64, warm_up=8, validation=TimeBlocks(0.0))
    trainer = OnlineTrainer(settings, torch.device("cpu"), torch.float32)
    for sample in range(70):
        trainer.offer(sample, torch.sin(x - 0.1 * sample)[None, None])
    with open("/proc/self/statm") as status:
        used = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + fields * field, -1))
    losses = [trainer.step() for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    record = trainer.record
    print(trainer.descent.most, record.backoffs, record.steps, None not in losses)
train(1500)
train(150)
"""


def test_a_batch_twice_too_large_for_a_real_limit_is_halved_and_the_run_finishes():
    """The process may take 150 more hidden fields; a batch of 64 pairs needs three of each pair, and backward a fourth."""
    enough, short = output_of(FULL).splitlines()
    assert enough == "64 0 3 True"
    most, backoffs, *finished = short.split()
    assert int(most) in (32, 16) and int(backoffs) in (1, 2)
    assert finished == ["3", "True"]
