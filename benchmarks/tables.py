"""Write the README's tables from measured files: python benchmarks/tables.py.

Reads ``benchmarks/results/*.json`` and a run's ``report.json`` stored there as ``forecast.json``.
"""

import json
import re
from pathlib import Path

import equations_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def forecast():
    report = read("forecast")
    names = list(next(iter(report["learning"].values()))["models"])
    rows = []
    for split, numbers in report["learning"].items():
        errors = [f"{numbers['models'][name]['field_error']:.3f}" for name in names]
        rows.append([split, *errors, f"{numbers['projection_error']:.3f}"])
    table = markdown(["rel-L2 of the field, free rollout", *names, "projection (floor)"], rows)
    loop = next(stage for stage in report["stages"] if stage["name"] == "time loop")
    crossed = loop["host_to_device"] + loop["device_to_host"]
    where = report["provenance"]["device"]
    return f"{table}\n\nBytes between host and device inside the time loop ({where}): {crossed}."


def accuracy():
    rows = read("accuracy")["rows"]
    header = ["rel-L2 error at", *(f"N = {n}" for n in rows[0]["points"]), "observed order"]
    return markdown(
        header,
        [
            [f"t = {r['time']:g}", *(f"{e:.1e}" for e in r["errors"]), f"{r['order']:.2f}"]
            for r in rows
        ],
    )


def speed():
    result, launches = read("burgers_miniapp"), read("launch_overhead")
    rows = [
        [row["contender"], f"{row['milliseconds']:.3f}", f"{row['ratio']:.2f}"]
        for row in result["rows"]
    ]
    table = markdown(
        [f"{result['steps']} steps at {result['nx']} points", "ms", "ratio to the C++ loop"], rows
    )
    sampling = "; ".join(
        f"{row['scheme']} scheme, {row['mode']}: {100 * row['added']:+.1f} %"
        for row in result["sampling"]
    )
    advance = next(row for row in result["rows"] if row["contender"] == "insitu Serial, advance")
    step = 1e6 * advance["milliseconds"] / result["steps"]
    launch = "; ".join(
        f"{name}: {launches[name]['python_us']:.2f} µs from Python, {launches[name]['occa_us']:.2f} µs from C++"
        for name in ("2 arguments", "6 arguments")
    )
    return (
        f"{table}\n\nMedians of {result['repeats']} interleaved runs on one core of {result['cpu']}, float64; NumPy, numba and "
        "C++ run the mini-app's scheme.\n\n"
        f"A snapshot every 10 steps adds: {sampling}. (The target is 3 %; a step of the mini-app's scheme takes {step:.0f} ns "
        "here, launch and check included, so a snapshot of 2 KB is felt.)\n\n"
        f"One launch of an empty kernel, mode {launches['mode']}: {launch}."
    )


def multigrid():
    rows = {}
    for row in read("multigrid")["rows"]:
        size = f"{row['points'][0]}{'²' if len(row['points']) == 2 else '³'}"
        rows.setdefault(row["sides"], {})[size] = str(row["iterations"])
    sizes = list(dict.fromkeys(size for found in rows.values() for size in found))
    return markdown(
        ["iterations to 1e-8", *sizes],
        [[sides, *(found.get(size, "–") for size in sizes)] for sides, found in rows.items()],
    )


def flows():
    found = [row for row in read("navier_stokes")["rows"] if row["case"] == "shear layer"]
    rows = [
        [
            f"{row['points']}²",
            f"{row['energy']:.7f}",
            f"{row['enstrophy']:.5f}",
            f"{row['vorticity_max']:.5f}",
            f"{row['divergence']:.0e}",
        ]
        for row in found
    ]
    rows.append(["reference", ".3791331834", "20.876190107", "18.566255569", ""])
    return markdown(
        ["double shear layer, t = 1", "kinetic energy", "enstrophy", "max vorticity", "max div u"],
        rows,
    )


def equations():
    return equations_table.equations(read("equations"), markdown)


def scaling():
    result = read("scaling")
    ranks = sorted({row["ranks"] for row in result["rows"]})
    rows = []
    for case in dict.fromkeys(row["case"] for row in result["rows"]):
        found = {row["ranks"]: row for row in result["rows"] if row["case"] == case}
        size = " × ".join(map(str, found[1]["points"]))
        kind, axes = case.split()
        each = "" if kind == "strong" else " a rank"
        cells = [f"{found[1]['milliseconds']:.2f}"]
        cells += [
            f"{found[n]['milliseconds']:.2f} ({found[n]['model_milliseconds']:.2f}), "
            f"{100 * found[n]['communication']:.0f} %, {found[n]['overlap_milliseconds']:.2f}"
            for n in ranks[1:]
        ]
        paper = [
            f"{100 * row['efficiency']:.0f} %" for row in result["paper"] if row["case"] == case
        ]
        rows.append([f"{kind}, {size}{each}", *cells, *paper])
    header = ["ms a step", "1 rank", *(f"{n} ranks" for n in ranks[1:])]
    header += [f"{n} on paper" for n in sorted({row["ranks"] for row in result["paper"]})]
    sent = next(row for row in result["rows"] if row["case"] == "strong 3-D" and row["ranks"] == 2)
    return (
        f"{markdown(header, rows)}\n\n"
        "In a cell: measured (the model's), the share of packing, waiting and unpacking, and measured with inner tiles "
        f"first while messages are on their way. Medians of {result['repeats']} rounds, one thread a rank, "
        f"{result['cores']} cores: with 4 ranks they take turns, and part of the share is waiting for one's turn. On a host's "
        "cores MPI moves nothing by itself, so overlap is off there unless asked for. A 3-D rank of 2 sends "
        f"{sent['messages']} message of {sent['bytes'] / 1e6:.1f} MB every {sent['steps_per_pass']} steps. On paper: efficiency "
        "by the same model with a core for each rank and a network of 2 µs and 12.5 GB/s; not measured. On GPUs: not measured."
    )


def streaming():
    result = read("streaming_pod")
    lines = []
    for row in result["rows"]:
        ours = row["contestants"]["insitu"]
        for name, numbers in row["contestants"].items():
            ratio = numbers["median_cpu_s"] / ours["median_cpu_s"]
            memory = f"{numbers['peak_bytes'] / 2**20:.0f}" if "peak_bytes" in numbers else "–"
            lines.append(
                [
                    f"{name}, {row['ranks']} rank{'s' if row['ranks'] > 1 else ''}",
                    f"{numbers['median_s']:.2f}",
                    f"{numbers['median_cpu_s']:.2f} ({ratio:.1f})",
                    memory,
                    f"{numbers['error']:.5f}",
                    f"{numbers['bound']:.5f}" if "bound" in numbers else "none",
                ]
            )
    header = ["", "s a batch", "s of a core (ratio)", "MiB", "error", "bound"]
    hapod = "; ".join(
        f"{row['tolerance']:g}: {row['omega 0.75']['modes']} modes, error {row['omega 0.75']['error']:.3g} (pyMOR "
        f"{row['pymor'][0]}, {row['pymor'][1]:g}; the fewest there can be {row['fewest']})"
        for row in result["hapod"]
    )
    return (
        f"{markdown(header, lines)}\n\n{result['features']:,} points, {result['snapshots']} snapshots in batches of "
        f"{result['batch']}, {result['modes']} modes, float64, one thread a rank, {result['cores']} cores; medians of batches "
        f"taken in turns; errors relative to the norm, the best of {result['modes']} modes is "
        f"{result['rows'][0]['best_error']:.5f}. Memory on top of the data. HAPOD's tolerances on PyParSVD's data: {hapod}."
    )


TABLES = (forecast, accuracy, speed, equations, multigrid, flows, scaling, streaming)


def main():
    readme = (ROOT / "README.md").read_text()
    for make in TABLES:
        name = make.__name__
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        readme, count = re.subn(
            pattern, lambda match, make=make: f"{match[1]}{make()}\n{match[2]}", readme, flags=re.S
        )
        if count != 1:
            raise SystemExit(f"README.md must hold one '<!-- table: {name} -->', found {count}")
    (ROOT / "README.md").write_text(readme)


if __name__ == "__main__":
    main()
