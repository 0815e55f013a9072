"""Random allocations, views, slices, exports, wraps and frees against a NumPy model.

Also a script, for a build with sanitizers or for valgrind: random_memory.py MODE OPERATIONS SEED.
"""

import gc
import random
import sys

import numpy as np

import solver

DTYPES = {"int32": "int", "int64": "long", "float32": "float", "float64": "double"}

DOUBLING = """
@kernel void doubling(const int n, real *x @dim(n)) {
  for (int i = 0; i < n; ++i; @tile(4, @outer, @inner)) { x[i] += x[i]; }
}
"""


class Entry:
    """Something that shows memory, and the NumPy array it must equal."""

    def __init__(self, thing, model):
        self.thing = thing
        self.model = model


class RandomMemory:
    """One device, a bounded set of entries, and one operation at a time."""

    def __init__(self, device, seed, use_torch):
        self.device = device
        self.random = random.Random(seed)
        self.entries = []
        self.counter = 0
        self.operations = [self.allocate, self.slice, self.write, self.check, self.drop, self.free]
        self.operations += [self.reshape, self.copy_between, self.launch]
        self.doubling = {
            dtype: device.build(DOUBLING, "doubling", {"real": real})
            for dtype, real in DTYPES.items()
        }
        if device.is_host:
            self.operations += [self.wrap, self.export, self.capsule, self.copied_export]
        self.consumers = [np.asarray, np.from_dlpack]
        if use_torch:
            import torch

            self.consumers += [torch.from_dlpack, torch.asarray]

    def run(self, operations):
        for _ in range(operations):
            self.random.choice(self.operations)()
            if len(self.entries) > 40:
                self.drop()
        for entry in self.entries:
            self.compare(entry)
        self.entries.clear()
        gc.collect()

    def shape(self):
        return tuple(
            self.random.choice((0, 1, 2, 3, 5, 8)) for _ in range(self.random.randrange(4))
        )

    def values(self, shape, dtype):
        self.counter += 1
        size = int(np.prod(shape, dtype=int))
        return (np.arange(size) + self.counter % 1000).astype(dtype).reshape(shape)

    def memories(self):
        return [entry for entry in self.entries if isinstance(entry.thing, solver.Memory)]

    def pick(self, entries):
        return self.random.choice(entries) if entries else None

    def allocate(self):
        values = self.values(self.shape(), self.random.choice(list(DTYPES)))
        memory = self.device.allocate(values.shape, values.dtype)
        memory.copy_from(values)
        self.entries.append(Entry(memory, values))

    def wrap(self):
        values = self.values(self.shape(), self.random.choice(list(DTYPES)))
        producer = values.copy()
        memory = self.device.wrap(producer)
        assert not values.size or memory.pointer == producer.ctypes.data
        if self.random.random() < 0.5:
            memory = self.device.wrap(memory)
        self.entries.append(Entry(memory, values))

    def slice(self):
        if entry := self.pick(self.memories()):
            key = tuple(self.index(extent) for extent in entry.model.shape)
            self.entries.append(Entry(entry.thing[key], entry.model[key + (...,)]))

    def index(self, extent):
        if extent and self.random.random() < 0.3:
            return self.random.randrange(-extent, extent)
        start, stop = self.random.randrange(extent + 1), self.random.randrange(extent + 2)
        return slice(start, stop, self.random.choice((None, 1, 2, 3)))

    def reshape(self):
        entry = self.pick([entry for entry in self.memories() if entry.thing.is_contiguous])
        if entry:
            model = entry.model.view()
            try:
                model.shape = (model.size,)
            except AttributeError:
                return
            self.entries.append(Entry(entry.thing.reshape((model.size,)), model))

    def export(self):
        if entry := self.pick(self.memories()):
            view = self.random.choice(self.consumers)(entry.thing)
            self.entries.append(Entry(view, entry.model))

    def copied_export(self):
        if entry := self.pick(self.memories()):
            copy = np.from_dlpack(entry.thing, copy=True)
            self.entries.append(Entry(copy, entry.model.copy()))

    def capsule(self):
        if entry := self.pick(self.memories()):
            version = self.random.choice((None, (1, 0)))
            self.entries.append(Entry(entry.thing.__dlpack__(max_version=version), None))

    def write(self):
        if entry := self.pick([entry for entry in self.entries if entry.model is not None]):
            values = self.values(entry.model.shape, entry.model.dtype)
            if not isinstance(entry.thing, solver.Memory):
                np.asarray(entry.thing)[...] = values
            elif entry.thing.is_contiguous:
                entry.thing.copy_from(values)
            else:
                return
            entry.model[...] = values

    def copy_between(self):
        target = self.pick([entry for entry in self.memories() if entry.thing.is_contiguous])
        if target:
            source = self.device.allocate(target.model.shape, target.model.dtype)
            values = self.values(target.model.shape, target.model.dtype)
            source.copy_from(values)
            target.thing.copy_from(source)
            target.model[...] = values

    def launch(self):
        entry = self.pick([entry for entry in self.memories() if entry.thing.is_contiguous])
        if entry and entry.model.size:
            try:
                self.doubling[str(entry.model.dtype)](entry.model.size, entry.thing)
            except solver.DeviceError as error:
                assert "cannot pass to a kernel" in str(error) and not self.device.is_host
            else:
                entry.model += entry.model

    def check(self):
        if entry := self.pick(self.entries):
            self.compare(entry)

    def compare(self, entry):
        if entry.model is None:
            return
        is_memory = isinstance(entry.thing, solver.Memory)
        seen = entry.thing.to_host() if is_memory else np.asarray(entry.thing)
        assert seen.dtype == entry.model.dtype
        np.testing.assert_array_equal(seen, entry.model)

    def drop(self):
        if self.entries:
            self.entries.pop(self.random.randrange(len(self.entries)))

    def free(self):
        if entry := self.pick(self.memories()):
            try:
                entry.thing.free()
            except solver.MemoryInUseError:
                self.compare(entry)
            else:
                self.entries.remove(entry)


if __name__ == "__main__":
    mode, operations, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    RandomMemory(solver.Device.open(mode), seed, use_torch="torch" in sys.argv).run(operations)
    print(f"{operations} operations in mode {mode}, seed {seed}: equal to the model")
