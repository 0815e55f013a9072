"""Kuramoto-Sivashinsky: fourth order in space, the growth rates of its waves, and the statistics of L = 22.

The long study is benchmarks/kuramoto_sivashinsky.py; here a short one has wide bands.
"""

import numpy as np
import pytest
from helpers.orders import observed_order, rms

from solver import Device, Grid, KuramotoSivashinsky, ParameterError, Simulation

LENGTH = 22.0


def grid_of(count, length=LENGTH):
    return Grid((count,), ((0.0, length),))


def spectral(u, length, dt, steps):
    """March with Fourier modes and rk4 in an integrating factor, the products without aliases: a reference."""
    count = len(u)
    k = 2 * np.pi / length * np.fft.rfftfreq(count, 1 / count)
    half, whole = np.exp((k**2 - k**4) * dt / 2), np.exp((k**2 - k**4) * dt)
    kept = np.arange(len(k)) < count / 3

    def slope(v):
        return -0.5j * k * kept * np.fft.rfft(np.fft.irfft(v, count) ** 2)

    v = np.fft.rfft(u)
    for _ in range(steps):
        a = dt * slope(v)
        b = dt * slope(half * (v + a / 2))
        c = dt * slope(half * v + b / 2)
        d = dt * slope(whole * v + half * c)
        v = whole * v + (whole * a + 2 * half * (b + c) + d) / 6
    return np.fft.irfft(v, count)


def start(x):
    k = 2 * np.pi / LENGTH
    return np.cos(k * x) * (1 + np.sin(2 * k * x)) + 0.5 * np.sin(3 * k * x)


def test_observed_order_against_a_spectral_solution():
    fine = grid_of(192).axes()[0]
    truth = spectral(start(fine), LENGTH, 0.0025, 4000)
    counts, errors = np.array([32, 48, 64, 96]), []
    for count in counts:
        simulation = Simulation(
            Device.open("Serial"), grid_of(int(count)), KuramotoSivashinsky(), start
        )
        simulation.advance(until=10.0)
        errors.append(rms(simulation.u.to_host()[0] - truth[:: 192 // count]))
    order = observed_order(1 / counts, errors)
    assert 3.7 < order < 4.6 and errors[-1] < 1e-3, f"order {order:.2f}, errors {errors}"


def test_small_waves_grow_and_decay_at_their_rates(device):
    """k² − νk⁴, for each member its own ν."""
    nu = np.array([1.0, 1.5, 3.0])
    count, k = 64, 4 * np.pi / LENGTH
    grid = grid_of(count)
    small = 1e-6 * np.cos(k * grid.axes()[0])
    simulation = Simulation(device, grid, KuramotoSivashinsky(nu), small[None])
    simulation.advance(until=2.0)
    growth = simulation.u.to_host()[:, 0] @ small / (small @ small)
    assert np.log(growth) / 2 == pytest.approx(k**2 - nu * k**4, abs=2e-4)


def test_statistics_of_the_attractor():
    """Largest Lyapunov exponent .048 and <u²/2> .703, by 24 pairs of members; the twin of a pair is pulled back every 5 units."""
    pairs, count, distance = 24, 32, 1e-6
    random = np.random.default_rng(0)
    x = 2 * np.pi * grid_of(count).axes()[0] / LENGTH
    waves = sum(
        random.standard_normal((pairs, 1)) * np.cos(k * x + random.uniform(0, 6, (pairs, 1)))
        for k in range(1, 4)
    )
    simulation = Simulation(
        Device.open("Serial"),
        grid_of(count),
        KuramotoSivashinsky(),
        np.concatenate([waves, waves])[:, None],
        members=2 * pairs,
    )
    simulation.advance(until=200.0)
    u = np.asarray(simulation.u)[:, 0]
    first, second = u[:pairs], u[pairs:]
    apart = random.standard_normal((pairs, count))
    apart -= apart.mean(1, keepdims=True)
    rates, energy = [], []
    for n in range(220):
        second[:] = first + distance * apart / np.linalg.norm(apart, axis=1, keepdims=True)
        simulation.advance(until=simulation.time + 5.0)
        apart = second - first
        if n >= 20:
            rates.append(np.log(np.linalg.norm(apart, axis=1) / distance) / 5)
            energy.append((first**2).mean(1) / 2)
    assert np.mean(rates) == pytest.approx(0.048, abs=0.006)
    assert np.mean(energy) == pytest.approx(0.703, abs=0.012)
    assert np.abs(u.sum(1)).max() < 1e-10


def test_grids_it_cannot_live_on(host_device):
    for grid, sentence in (
        (Grid((16, 16), ((0.0, 22.0),) * 2), "a grid of one axis"),
        (grid_of(9), r"below sqrt\(5 nu\)"),
        (grid_of(6, 2.0), "at least 7"),
    ):
        with pytest.raises(ParameterError, match=sentence):
            Simulation(host_device, grid, KuramotoSivashinsky())
