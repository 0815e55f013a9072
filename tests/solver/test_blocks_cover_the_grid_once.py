"""Every point has one owner, and what a rank asks for is what others send it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import Dirichlet, Grid, ParameterError, Periodic
from solver.decomposition import Decomposition, fewest_neighbours, require_product
from solver.grid import Block


@st.composite
def cuts(draw):
    axes = draw(st.integers(1, 3))
    points = draw(st.tuples(*[st.integers(1, 6)] * axes))
    ranks = tuple(draw(st.integers(1, n)) for n in points)
    is_periodic = draw(st.tuples(*[st.booleans()] * axes))
    return points, ranks, is_periodic


def everyone(cut):
    points, ranks, is_periodic = cut
    return [Decomposition(points, ranks, is_periodic, r) for r in range(math.prod(ranks))]


@settings(max_examples=60)
@given(cuts())
def test_blocks_are_disjoint_even_and_complete(cut):
    owners = np.zeros(cut[0], int)
    places = everyone(cut)
    for place in places:
        owners[tuple(slice(b, b + n) for b, n in zip(place.begin, place.shape, strict=True))] += 1
    assert (owners == 1).all()
    for sides in zip(*[place.shape for place in places], strict=True):
        assert max(sides) - min(sides) <= 1
    assert places[0].smallest == tuple(map(min, zip(*[p.shape for p in places], strict=True)))


@settings(max_examples=60)
@given(cuts(), st.integers(0, 7))
def test_pieces_are_the_surroundings(cut, reach):
    """The points around a block, periodic images among them, put together from the owners' own arrays."""
    points, _, is_periodic = cut
    whole = np.arange(math.prod(points)).reshape(points)
    places = everyone(cut)
    blocks = [
        whole[tuple(slice(b, b + n) for b, n in zip(p.begin, p.shape, strict=True))] for p in places
    ]
    for place, block in zip(places, blocks, strict=True):
        margins = place.margins(reach)
        around = np.full([n + sum(m) for n, m in zip(place.shape, margins, strict=True)], -1)

        def box(at, shape, margins=margins):
            ranges = zip(at, shape, margins, strict=True)
            return tuple(slice(low + a, low + a + n) for a, n, (low, _) in ranges)

        around[box([0] * len(points), place.shape)] = block
        for piece in place.pieces(reach):
            target = around[box(piece.at, piece.shape)]
            assert (target == -1).all()
            ranges = zip(piece.begin, piece.shape, strict=True)
            target[:] = blocks[piece.owner][tuple(slice(b, b + n) for b, n in ranges)]
        axes = [
            np.arange(b - low, b + n + high) % total
            for b, n, (low, high), total in zip(
                place.begin, place.shape, margins, points, strict=True
            )
        ]
        assert (around == whole[np.ix_(*axes)]).all()
        for axis, (low, high) in enumerate(margins):
            if not is_periodic[axis]:
                assert place.begin[axis] >= low
                assert place.begin[axis] + place.shape[axis] + high <= points[axis]


@settings(max_examples=60)
@given(cuts(), st.integers(0, 7))
def test_what_one_asks_the_other_sends(cut, reach):
    places = everyone(cut)
    wanted = [place.pieces(reach) for place in places]
    asked = [place.asked(reach) for place in places]
    for place, other in itertools.product(places, repeat=2):
        theirs = [piece for piece in wanted[place.rank] if piece.owner == other.rank]
        assert asked[other.rank].get(place.rank, []) == theirs


@pytest.mark.parametrize(
    ("points", "size", "expected"),
    [
        ((64, 64), 1, (1, 1)),
        ((64, 64), 2, (2, 1)),
        ((64, 64), 16, (4, 4)),
        ((100, 20), 6, (6, 1)),
        ((20, 100), 6, (1, 6)),
        ((256, 256, 256), 64, (4, 4, 4)),
        ((7,), 7, (7,)),
    ],
)
def test_the_chosen_ranks_have_the_smallest_surface(points, size, expected):
    assert fewest_neighbours(points, size) == expected


def test_impossible_ranks_are_refused():
    with pytest.raises(ParameterError, match="5 ranks for grid.points \\(4,\\); use fewer ranks"):
        fewest_neighbours((4,), 5)
    with pytest.raises(ParameterError, match="must multiply to 4, got \\(3, 2\\)"):
        require_product((3, 2), (16, 16), 4)
    with pytest.raises(ParameterError, match="every rank must own points"):
        Decomposition((4, 4), (5, 1), (True, True))


def test_a_block_s_coordinates_are_bits_of_the_grid_s():
    sides = ((Periodic(), Periodic()), (Dirichlet(), Dirichlet()))
    grid = Grid((13, 11), ((0.1, 1.7), (-0.3, 0.9)), sides)
    for rank in range(6):
        block = Block(grid, Decomposition(grid.points, (3, 2), grid.is_periodic, rank), None)
        assert block.spacing == grid.spacing
        for own, whole, begin in zip(block.axes(), grid.axes(), block.begin, strict=True):
            assert np.array_equal(own, whole[begin : begin + len(own)])
        low, high = block.margins(2)[1]
        assert (low == 0) == (block.begin[1] == 0)
        assert (high == 0) == (block.begin[1] + block.points[1] == 11)
        values = np.arange(143).reshape(1, 13, 11)
        part = block.part(values)
        assert part.shape == (1, *block.points)
        assert np.shares_memory(part, values)
        assert block.part(part) is part
