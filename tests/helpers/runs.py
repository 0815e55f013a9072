"""What two run directories have in common to the bit, but for times of day and seconds."""

import json

import numpy as np
import torch


def flat(value, key=""):
    """Yield (path, leaf) of nested values; seconds left out."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name != "seconds":
                yield from flat(each, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from flat(each, f"{key}.{number}")
    else:
        yield key, value.numpy().tobytes() if isinstance(value, torch.Tensor) else value


def contents(folder):
    """Return what a run left: report, series, bases, weights, the fields of its last checkpoint, by file and path."""
    found = dict(flat(json.loads((folder / "report.json").read_text()), "report"))
    for file in folder.iterdir():
        if file.suffix == ".npz":
            with np.load(file) as arrays:
                found |= {f"{file.name}/{name}": arrays[name].tobytes() for name in arrays}
        elif file.suffix == ".pt":
            found |= flat(torch.load(file, weights_only=True), file.name)
        elif file.suffix == ".csv":
            found[file.name] = file.read_bytes()
    return found | {f"fields/{name}": each.tobytes() for name, each in fields(folder).items()}


def fields(folder):
    """Return the arrays of the newest checkpoint, whole, by name; nothing where none was kept."""
    kept = [each for each in (folder / "checkpoints").glob("step-*")]
    if not kept:
        return {}
    newest = max(kept, key=lambda each: int(each.name.split("-")[1]))
    manifest = json.loads((newest / "manifest.json").read_text())
    found = {}
    for name, array in manifest["arrays"].items():
        if not name.startswith("simulation."):
            continue
        whole = np.empty(array["shape"], array["dtype"])
        for file, offset, place in array["pieces"]:
            shape = [len(range(*each)) for each in place]
            values = np.fromfile(newest / file, array["dtype"], int(np.prod(shape)), offset=offset)
            whole[tuple(slice(*each) for each in place)] = values.reshape(shape)
        found[name] = whole
    return found


def differences(one, other):
    """Return the paths at which the contents of two run directories are not the same bits."""
    mine, its = contents(one), contents(other)
    return [key for key in sorted(mine.keys() | its.keys()) if mine.get(key) != its.get(key)]


def leave_figures_out(monkeypatch):
    """Let runs draw nothing, which takes most of the time of small ones."""
    monkeypatch.setattr("insitu.report.numbers.write_page", lambda *_: None)
