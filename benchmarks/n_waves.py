"""The CAE-LSTM task: N-waves of Burgers' equation at Reynolds numbers never seen, rolled out from their first 10 states.

    OMP_NUM_THREADS=1 python benchmarks/n_waves.py [--output benchmarks/results/n_waves.json] [--only NAME ...]

Maulik, Lusch & Balaprakash 2021, doi:10.1063/5.0039986, and the notebook of their repository: u(x, t) in closed form on 128
points of [0, 1] at 100 times of [0, 2]; Re = 100, 200, ..., 1900 for training, 50, 250, ..., 2450 for the test. The first 10
states of a test run are given, the other 90 are forecast recursively; the Reynolds number is an input, as it is of theirs. The
error is |forecast - truth| / |truth| over all 13 x 90 x 128 values. Theirs, recomputed from their stored arrays: 0.07253.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from insitu.models import DMD, LSTM
from insitu.reduction import POD
from insitu.surrogates import FNO, ResidualCNN, Surrogate, Trajectories, fit
from insitu.training import Training, seeded

POINTS, TIMES, GIVEN = 128, 100, 10
TRAINED, TESTED = range(100, 2000, 100), range(50, 2500, 200)
HELD_OUT = (300, 800, 1300, 1700)  # of the trained ones, for the choice of the best weights
PUBLISHED = 0.07253131
RANKS = (10, 30)  # modes of the bases
STAGES = ((1, 40, 2e-3), (5, 10, 5e-4))  # steps of a rollout, epochs, learning rate


def wave(reynolds, x, t):
    """Return u(x, t), equation 16 of the paper."""
    growth = np.sqrt((t + 1) / np.exp(reynolds / 8)) * np.exp(reynolds * x**2 / (4 * t + 4))
    return x / (t + 1) / (1 + growth)


def runs(reynolds):
    """Return the runs at these Reynolds numbers, with log10 Re as their parameter."""
    x, t = np.linspace(0, 1, POINTS), np.linspace(0, 2, TIMES)[:, None]
    states = torch.from_numpy(np.stack([wave(each, x, t) for each in reynolds]))
    parameters = torch.tensor(reynolds, dtype=torch.float64).log10()[:, None]
    return Trajectories(states[:, :, None].float(), parameters.float())


def tell(epoch, record):
    """Show how the training goes."""
    losses = record.loss[-1], record.validation_loss[-1]
    print(
        f"epoch {epoch}, losses {losses[0]:.2e} {losses[1]:.2e}, {record.seconds:.0f} s", flush=True
    )


def trained():
    """Return the training runs, those held out for validation last."""
    return runs([*(each for each in TRAINED if each not in HELD_OUT), *HELD_OUT])


def surrogate(core):
    """Return a way to forecast by a surrogate that is trained here."""

    def forecast(train, test, steps=TIMES - GIVEN):
        with seeded(0, torch.device("cpu")):
            cores = {
                "cnn": lambda: ResidualCNN(1, 2, 1, False, 16, 5, (1, 1, 1)),
                "fno": lambda: FNO(1, 2, 1, False, 24, 16),
            }
            model = Surrogate(cores[core](), 1, 1, interval=2 / (TIMES - 1))
        for unrolled, epochs, rate in STAGES:
            settings = Training(
                epochs=epochs,
                batch_size=32,
                learning_rate=rate,
                patience=epochs,
                validation=len(HELD_OUT) / len(TRAINED),
                final_rate=0.01,
            )
            fit(model, train, settings, unrolled, tell)
        with torch.no_grad():
            found = model.rollout(test.states[:, GIVEN - 1], steps, test.parameters)
        return found, sum(weight.numel() for weight in model.parameters())

    return forecast


def coefficients(model, rank, takes_parameter):
    """Return a way to forecast by a model of POD coefficients, with log10 Re beside them where it takes it."""

    def forecast(train, test):
        basis = POD(rank=rank).fit(train.states.flatten(0, 1).flatten(1))

        def series(given):
            found = basis.transform(given.states.flatten(0, 1).flatten(1))
            found = found.reshape(*given.states.shape[:2], -1)
            beside = given.parameters[:, None].expand(-1, TIMES, -1)
            return torch.cat([found, beside], dim=-1) if takes_parameter else found

        model.fit(series(train))
        found = []
        for known in series(test):
            window = known[GIVEN - model.history : GIVEN]
            for _ in range(TIMES - GIVEN):
                state = model.forecast(window, 1)
                state[:, rank:] = known[:1, rank:]
                window = torch.cat([window[1:], state])
                found.append(state[0, :rank])
        fields = basis.inverse_transform(torch.stack(found))
        weights = getattr(model, "_network", None)
        count = 0 if weights is None else sum(values.numel() for values in weights.parameters())
        return fields.reshape(len(test), TIMES - GIVEN, 1, POINTS), count

    return forecast


def frozen(train, test):
    """Return the last state that is given, again and again."""
    return test.states[:, GIVEN - 1 : GIVEN].expand(-1, TIMES - GIVEN, -1, -1), 0


def projection(rank):
    """Return the way to the truth as a basis has it, which no model of its coefficients can better."""

    def forecast(train, test):
        basis = POD(rank=rank).fit(train.states.flatten(0, 1).flatten(1))
        truth = test.states[:, GIVEN:].flatten(0, 1).flatten(1)
        found = basis.inverse_transform(basis.transform(truth))
        return found.reshape(len(test), -1, 1, POINTS), 0

    return forecast


def contenders():
    lstm = LSTM(
        hidden=40,
        history=GIVEN,
        training=Training(
            epochs=60, patience=60, validation=len(HELD_OUT) / len(TRAINED), final_rate=0.01
        ),
    )
    return {
        "residual CNN": surrogate("cnn"),
        "FNO": surrogate("fno"),
        **{f"POD-LSTM, {n} modes": coefficients(lstm, n, True) for n in RANKS},
        **{f"DMD, {n} modes": coefficients(DMD(delays=GIVEN), n, False) for n in RANKS},
        **{f"projection on {n} modes": projection(n) for n in RANKS},
        "persistence": frozen,
    }


def error(found, truth, members):
    """Return the error over the given members."""
    return float((found - truth)[members].norm() / truth[members].norm())


def measure(name, forecast):
    train, test = trained(), runs(TESTED)
    started = time.process_time()
    found, weights = forecast(train, test)
    seconds = time.process_time() - started
    truth = test.states[:, GIVEN:]
    inside = [TRAINED[0] <= each <= TRAINED[-1] for each in TESTED]
    return {
        "model": name,
        "error": error(found, truth, slice(None)),
        "inside": error(found, truth, inside),
        "outside": error(found, truth, [not each for each in inside]),
        "by_reynolds": {str(n): error(found, truth, [i]) for i, n in enumerate(TESTED)},
        "weights": weights,
        "threads": torch.get_num_threads(),
        "cpu_seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    for name, forecast in contenders().items():
        if not options.only or name in options.only:
            row = measure(name, forecast)
            print(json.dumps(row), flush=True)
            if options.output:
                store(options.output, row)


def store(file, row):
    """Write a row into a file of results, in the place of an older one of its model."""
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    rows = [each for each in rows if each["model"] != row["model"]]
    about = {
        "published": PUBLISHED,
        "given": GIVEN,
        "stages": STAGES,
        "held_out": HELD_OUT,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    rows = sorted([*rows, row], key=lambda each: each["error"])
    file.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
