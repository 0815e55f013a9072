import threading
import time
import uuid

import numpy as np
from helpers.kernels import AXPY

SPIN = """
@kernel void spin(const long rounds, double *y) {
  for (int o = 0; o < 1; ++o; @outer) {
    for (int i = 0; i < 1; ++i; @inner) {
      double r = y[0];
      for (long k = 0; k < rounds; ++k) { r = r * 0.999999 + 1e-9; }
      y[0] = r;
    }
  }
}
"""


def in_threads(count, work):
    failures = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_one_kernel_in_three_threads_gives_right_results(device):
    axpy = device.build(AXPY, "axpy", {"real": "double"})
    n = 5000
    ones = device.allocate((n,))
    ones.copy_from(np.ones(n))
    wrong = []

    def work(number):
        mine = device.allocate((n,))
        for launch in range(300):
            mine.copy_from(np.full(n, float(launch)))
            size = n - number
            axpy(size, float(number + 1), ones, mine)
            result = mine.to_host()
            expected = np.where(np.arange(n) < size, launch + number + 1.0, launch)
            if not np.array_equal(result, expected):
                wrong.append((number, launch))

    in_threads(3, work)
    assert wrong == []


def test_memory_comes_and_goes_while_kernels_are_built(device):
    def work(number):
        for _ in range(20):
            memory = device.allocate((100,))
            memory.copy_from(np.full(100, float(number)))
            kernel = device.build(AXPY, "axpy", {"real": "double", "NUMBER": number})
            kernel(100, 1.0, memory, memory)
            assert memory.to_host().tolist() == [2.0 * number] * 100

    in_threads(3, work)


class Ticker:
    """Counts how often another thread gets to run."""

    def __enter__(self):
        self.ticks, self.stop = 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self):
        while not self.stop.is_set():
            self.ticks += 1
            time.sleep(0.001)

    def __exit__(self, *error):
        self.stop.set()
        self.thread.join()


def test_other_threads_run_while_a_kernel_is_built(host_device):
    begin = time.perf_counter()
    with Ticker() as ticker:
        host_device.build(AXPY, "axpy", {"real": "double", "UNIQUE": f"u{uuid.uuid4().hex}"})
    assert ticker.ticks > 100 * (time.perf_counter() - begin)


def test_other_threads_run_while_a_host_kernel_runs(host_device):
    spin = host_device.build(SPIN, "spin")
    memory = host_device.wrap(np.ones(1))
    spin(1, memory)
    begin = time.perf_counter()
    with Ticker() as ticker:
        spin(100_000_000, memory)
    elapsed = time.perf_counter() - begin
    assert elapsed > 0.05
    assert ticker.ticks > 100 * elapsed
