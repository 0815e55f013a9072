"""The controller keeps the share of slow bursts under 5 % by throttling, lets a trainer that disturbs nobody run, and adapts."""

import threading
import time

import numpy as np
import pytest

from insitu.online import SlowdownBudget
from insitu.online.throttle import Throttle


def drive(budget, bursts, seconds):
    """Run bursts whose time is seconds(burst, duty), as the solver would see them; return times and duties."""
    times, duties = [], []
    for burst in range(bursts):
        duty = budget.duty
        times.append(seconds(burst, duty))
        duties.append(duty)
        budget.record(times[-1], undisturbed=duty == 0)
    return np.array(times), np.array(duties)


def contended(slowdown, seed=0, drift=lambda burst: 1.0):
    """A burst of 1 ms with 2 % noise, slower by `slowdown` where a piece of training falls into it, which has chance duty."""
    random = np.random.default_rng(seed)

    def seconds(burst, duty):
        hit = random.random() < duty
        noise = 1 + 0.02 * abs(random.standard_normal())
        return 1e-3 * drift(burst) * noise * (1 + slowdown * hit)

    return seconds


def inflation(times, duties):
    return np.quantile(times, 0.95) / np.quantile(times[duties == 0], 0.95) - 1


def test_a_trainer_that_disturbs_is_throttled_to_the_budget():
    times, duties = drive(SlowdownBudget(0.1), 4000, contended(1.0))
    assert inflation(times[40:], duties[40:]) <= 0.1
    assert 0.01 < duties[40:].mean() < 0.1
    fixed, _ = drive(SlowdownBudget(0.1), 40, contended(1.0))
    without = [contended(1.0, 1)(n, 1.0) for n in range(100)]
    assert np.quantile(without, 0.95) / np.quantile(fixed, 0.95) - 1 > 0.9, (
        "else nothing was to be held"
    )


def test_a_trainer_that_disturbs_little_runs_all_the_time():
    times, duties = drive(SlowdownBudget(0.1), 4000, contended(0.05))
    assert duties[-50:].max() == 1.0
    assert np.median(duties[1000:]) == 1.0
    assert inflation(times[40:], duties[40:]) <= 0.1


def test_a_smaller_budget_gives_a_smaller_duty():
    random = np.random.default_rng(2)

    def proportional(burst, duty):
        return 1e-3 * (1 + duty) * (1 + 0.01 * abs(random.standard_normal()))

    means = [
        drive(SlowdownBudget(b), 3000, proportional)[1][1000:].mean() for b in (0.05, 0.2, 0.8)
    ]
    assert means == sorted(means)
    assert means[0] < 0.15 < 0.4 < means[2]


def test_the_share_of_slow_bursts_is_bounded_whatever_they_depend_on():
    """e averages to α + (1 − DEBT + γ)/(γ n): here training is harmless for 1000 bursts, then harmful, and so on."""
    budget = SlowdownBudget(0.1)
    harm = [contended(0.02, 3), contended(3.0, 4)]
    drive(budget, 8000, lambda burst, duty: harm[burst // 1000 % 2](burst, duty))
    alpha = budget.TARGET * (1 - budget.quantile)
    bound = alpha + (1 - budget.DEBT + budget.gain) / (budget.gain * budget.bursts)
    assert budget.exceeded / budget.bursts <= bound < 0.05


def test_nothing_is_trained_before_there_is_a_baseline():
    budget = SlowdownBudget(baseline=40)
    _, duties = drive(budget, 41, contended(0.0))
    assert not duties.any()
    assert budget.summary()["bursts"] == 1


def test_the_solver_s_own_slowdown_is_not_charged_to_the_trainer():
    """From burst 1000 on the solver itself takes twice as long; the threshold follows and training comes back."""
    drift = contended(0.0, drift=lambda burst: 1 + (burst > 1000))
    times, duties = drive(SlowdownBudget(0.1, memory=100), 6000, drift)
    assert duties[900:1000].max() == 1.0
    assert duties[1050:1150].max() == 0.0, "held back at first"
    assert duties[-500:].max() == 1.0


def test_rests_come_at_regular_intervals():
    _, duties = drive(SlowdownBudget(cycle=50, rest=5), 2000, contended(0.0))
    resting = duties[1040:] == 0
    assert resting.mean() == pytest.approx(0.1, abs=0.01)


def test_a_rest_lasts_until_enough_bursts_were_undisturbed():
    """A worker that needs three bursts to come to rest."""
    budget, since, found = SlowdownBudget(cycle=50, rest=5), 0, []
    for _ in range(600):
        since = 0 if budget.duty else since + 1
        found.append(since > 3 or budget.bursts == 0)
        budget.record(1e-3, undisturbed=found[-1])
    assert sum(found[40:]) == pytest.approx(560 * 5 / (45 + 3 + 5), abs=10)


def test_its_state_goes_on_alike():
    one = SlowdownBudget()
    drive(one, 500, contended(1.0))
    other = SlowdownBudget()
    other.load_state_dict(one.state_dict())
    assert other.summary() == one.summary()
    again = [drive(each, 300, contended(1.0, 9))[1] for each in (one, other)]
    assert np.array_equal(*again)


def test_its_summary_is_what_happened():
    budget = SlowdownBudget(0.1)
    times, duties = drive(budget, 2000, contended(1.0))
    summary = budget.summary()
    assert summary["bursts"] == 1960
    assert summary["mean_duty"] == pytest.approx(duties[40:].mean(), rel=0.02)
    assert summary["exceeded"] == budget.exceeded / 1960 <= 0.06
    assert summary["inflation"] == pytest.approx(inflation(times[40:], duties[40:]), abs=0.03)


@pytest.mark.parametrize("setting", [{"inflation": 0.0}, {"gain": 1.0}, {"rest": 0}, {"memory": 3}])
def test_settings_out_of_range_are_one_sentence(setting):
    (name,) = setting
    with pytest.raises(
        ValueError, match=f"slowdown budget: expected {name} .*, got .*; correct it"
    ):
        SlowdownBudget(**setting)


class Worker:
    """A thread that works in pieces of 2 ms."""

    def __init__(self):
        self.throttle, self.pieces, self.small = Throttle(), 0, 0
        self.log = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        self.throttle.idle()
        self.throttle.breathe(self._meanwhile)
        while not self.throttle.has_ended:
            time.sleep(0.002)
            self.pieces += 1
            self.throttle.breathe(self._meanwhile)
            self.log.append((time.perf_counter(), self.throttle.busy))

    def _meanwhile(self):
        self.small += 1

    def wait_until(self, condition):
        for _ in range(2000):
            if condition():
                return
            time.sleep(0.005)
        raise AssertionError("waited 10 s")


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.throttle.end()
    made.thread.join(timeout=10)
    assert not made.thread.is_alive()


def test_a_worker_of_no_duty_rests_and_says_so(worker):
    throttle = worker.throttle
    worker.wait_until(lambda: throttle.rest is not None and worker.small > 3)
    assert worker.pieces == 0
    first = throttle.rest
    throttle.duty = 1.0
    worker.wait_until(lambda: worker.pieces > 3)
    assert throttle.rest is None
    throttle.duty = 0.0
    worker.wait_until(lambda: throttle.rest is not None)
    done = worker.pieces
    time.sleep(0.05)
    assert worker.pieces == done
    assert throttle.rest != first, "a rest that was broken is another rest"


def test_a_worker_keeps_its_duty(worker):
    started = time.perf_counter()
    worker.throttle.duty = 0.25
    worker.wait_until(lambda: len(worker.log) >= 20)
    assert all(busy <= 0.25 * (now - started) for now, busy in worker.log)
    assert worker.throttle.busy >= 20 * 0.002
