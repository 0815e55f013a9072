"""A ring holds the newest pairs, a reservoir each pair so far with equal probability; neither grows."""

import pytest
import torch

from insitu.online import Buffer


def fill(buffer, samples, members=1, points=3):
    """Put a pair for each sample whose values are the sample's number, on the rank that owns it."""
    for sample in samples:
        slot = buffer.place(sample, sample + 1, range(members))
        if slot is not None and buffer.owner(slot) == buffer._rank:
            states = torch.full((members, 1, points), float(sample))
            states += 0.1 * torch.arange(members).view(-1, 1, 1)
            buffer.write(slot, states, states + 1)
    return buffer


def values(buffer):
    """Return sample + member / 10 of every pair this rank holds."""
    pairs = buffer.gather(buffer.here(torch.arange(buffer.pairs)))
    assert torch.equal(pairs.targets, pairs.inputs + 1)
    return pairs.inputs[:, 0, 0]


def test_a_ring_holds_the_newest():
    buffer = fill(Buffer(5, "ring"), range(13))
    assert sorted(values(buffer).tolist()) == [8, 9, 10, 11, 12]
    assert sorted(buffer.origins()[:, 0].tolist()) == [8, 9, 10, 11, 12]


def test_a_reservoir_holds_all_while_there_is_room():
    buffer = fill(Buffer(5, "reservoir"), range(5))
    assert values(buffer).tolist() == [0, 1, 2, 3, 4]


def test_a_reservoir_is_uniform_over_the_run():
    """χ² over which of 25 pairs are held, 200 seeds: below the 99.9 % point of χ² with 24 degrees of freedom."""
    offered, capacity, seeds = 25, 5, 200
    held = torch.zeros(offered)
    for seed in range(seeds):
        buffer = fill(Buffer(capacity, "reservoir", seed), range(offered))
        assert buffer.entries == capacity
        held[values(buffer).long()] += 1
    expected = seeds * capacity / offered
    chi_square = float(((held - expected) ** 2 / expected).sum())
    assert chi_square < 51.18
    assert held.sum() == seeds * capacity


def test_origins_name_what_an_entry_holds():
    buffer = fill(Buffer(7, "reservoir", seed=3), range(50), members=2)
    found = values(buffer)
    origins = buffer.origins()
    assert torch.allclose(found, origins[:, 0] + 0.1 * origins[:, 2])
    assert torch.equal(origins[:, 1], origins[:, 0] + 1)


@pytest.mark.parametrize("policy", ["ring", "reservoir"])
def test_memory_does_not_grow(policy):
    buffer = fill(Buffer(4, policy), range(4), points=100)
    before = buffer.nbytes
    assert before == 4 * 2 * 100 * 4
    fill(buffer, range(4, 300), points=100)
    assert buffer.nbytes == before


def test_batches_are_uniform_over_pairs_and_reproducible():
    one, two = (fill(Buffer(8, "ring", seed=5), range(8), members=3) for _ in range(2))
    drawn = one.draw(24_000)
    assert torch.equal(drawn, two.draw(24_000))
    counts = torch.bincount(drawn, minlength=24).double()
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 49.73  # 99.9 % point, 23 degrees of freedom


@pytest.mark.parametrize("policy", ["ring", "reservoir"])
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_hold_the_same_between_them(policy, size):
    alone = fill(Buffer(7, policy, 1), range(30), members=2)
    parts = [fill(Buffer(7, policy, 1, rank, size), range(30), members=2) for rank in range(size)]
    batch = alone.draw(16)
    assert all(torch.equal(part.draw(16), batch) for part in parts)
    together = torch.cat([part.gather(part.here(batch)).inputs for part in parts])
    expected = alone.gather(alone.here(batch)).inputs
    assert torch.equal(together.sort(dim=0).values, expected.sort(dim=0).values)
    assert torch.equal(
        torch.cat([values(part) for part in parts]).sort().values, values(alone).sort().values
    )


def test_a_restored_buffer_goes_on_alike():
    buffer = fill(Buffer(6, "reservoir", 2), range(20))
    restored = Buffer(6, "reservoir", 99)
    restored.load_state_dict(buffer.state_dict())
    for each in (buffer, restored):
        fill(each, range(20, 60))
    assert torch.equal(values(buffer), values(restored))
    assert torch.equal(buffer.draw(10), restored.draw(10))


def test_another_buffer_s_state_is_refused():
    with pytest.raises(ValueError, match=r"expected capacity and policy \[3, 'ring'\]"):
        Buffer(3, "ring").load_state_dict(fill(Buffer(4, "ring"), range(2)).state_dict())


def test_a_buffer_needs_room():
    with pytest.raises(ValueError, match=r"online.capacity must be 1 or more pairs, got 0"):
        Buffer(0)
