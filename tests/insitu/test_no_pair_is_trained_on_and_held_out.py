"""The validation split holds out blocks of time or members; no sample is on both sides, and a split that leaks is found."""

import pytest
import torch
from torch import nn

from insitu.online import Members, Online, OnlineTrainer, Split, TimeBlocks, leaks


class Straddling(TimeBlocks):
    """The split with the usual fault: a pair goes where its first sample is."""

    def training(self, first, last, members):
        return super().training(first, first, members)

    def validation(self, first, last, members):
        return super().validation(first, first, members)


class Overlapping(Members):
    """One member is in both parts."""

    def training(self, first, last, members):
        return range(members - self._held_out(members) + 1)


def trainer_of(split, stride, samples, members=1):
    """Return a trainer that was offered states whose values are sample + member / 100."""
    model = nn.Conv1d(1, 1, 1)
    settings = Online(model=model, validation=split, stride=stride, capacity=1000, policy="ring")
    trainer = OnlineTrainer(settings, torch.device("cpu"), torch.float32)
    for sample in range(samples):
        states = torch.full((members, 1, 4), float(sample))
        trainer.offer(sample, states + 0.01 * torch.arange(members).view(-1, 1, 1))
    return trainer


def seen(buffer):
    """Return (first, last, member) of each pair as its values tell."""
    pairs = buffer.gather(buffer.here(torch.arange(buffer.pairs)))
    first, last = pairs.inputs[:, 0, 0], pairs.targets[:, 0, 0]
    members = ((first - first.floor()) * 100).round()
    return torch.stack([first.floor(), last.floor(), members], dim=1).long()


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize(("fraction", "block"), [(0.2, 8), (0.5, 6), (0.3, 7)])
def test_blocks_of_time_share_no_sample(stride, fraction, block):
    trainer = trainer_of(TimeBlocks(fraction, block), stride, 200)
    trained, held = seen(trainer.training), seen(trainer.validation)
    samples = {n for first, last, _ in trained.tolist() for n in range(first, last + 1)}
    held_samples = {n for first, last, _ in held.tolist() for n in range(first, last + 1)}
    assert samples and held_samples
    assert not samples & held_samples
    assert len(held_samples) == pytest.approx(fraction * 200, abs=block + 1)
    assert trainer.leaked_pairs() == 0


def test_what_straddles_is_in_neither_part():
    split = TimeBlocks(0.2, 8)
    assert split.training(31, 32, 1) == split.validation(31, 32, 1) == range(0)
    assert split.training(30, 31, 1) == range(1) == split.validation(32, 33, 1)
    assert split.training(31, 40, 1) == range(0), "a whole block lies between"


def test_members_are_held_out_for_the_whole_run():
    trainer = trainer_of(Members(0.25), 1, 30, members=8)
    trained, held = seen(trainer.training), seen(trainer.validation)
    assert set(trained[:, 2].tolist()) == set(range(6))
    assert set(held[:, 2].tolist()) == {6, 7}
    assert len(trained) == 29 * 6 and len(held) == 29 * 2
    assert trainer.leaked_pairs() == 0


@pytest.mark.parametrize(
    ("split", "stride", "members"), [(Straddling(0.2, 8), 3, 1), (Overlapping(0.25), 1, 8)]
)
def test_a_planted_leak_is_found(split: Split, stride, members):
    trainer = trainer_of(split, stride, 100, members)
    assert trainer.leaked_pairs() > 0


def test_a_leak_needs_time_and_member_in_common():
    held = torch.tensor([[5, 7, 0]])
    for pair, count in (
        ([7, 9, 0], 1),
        ([8, 9, 0], 0),
        ([5, 7, 1], 0),
        ([1, 9, 0], 1),
        ([2, 4, 0], 0),
    ):
        assert leaks(torch.tensor([pair]), held) == count


def test_a_lost_sample_makes_no_pair_across_the_gap():
    trainer = trainer_of(TimeBlocks(0.0), 1, 5)
    trainer.offer(7, torch.zeros(1, 1, 4))
    trainer.offer(8, torch.zeros(1, 1, 4))
    assert trainer.training.origins()[:, :2].tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [7, 8]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TimeBlocks(1.0), r"online.validation.fraction must be in \[0, 1\), got 1.0"),
        (lambda: TimeBlocks(0.2, 0), "online.validation.block must be >= 1, got 0"),
        (lambda: Members(0.0), r"online.validation.fraction must be in \(0, 1\), got 0.0"),
        (lambda: Members().training(0, 1, 1), "by time for a single solution"),
        (
            lambda: Online(model=nn.Identity(), stride=8, validation=TimeBlocks(0.2, 8)),
            "online.validation.block must be > the stride 8",
        ),
        (
            lambda: Online(model=nn.Identity(), stride=2, validation=TimeBlocks(0.8, 8)),
            "and so the samples between two blocks, got 2",
        ),
    ],
)
def test_what_cannot_be_split_is_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
