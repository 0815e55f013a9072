"""Write the tables of README.md and docs/measurements.md from measured files: python benchmarks/tables.py.

Reads ``benchmarks/results/*.json`` and a run's ``report.json`` stored there as ``forecast.json``.
"""

import json
import re
from pathlib import Path

import equations_table

from insitu.timing import sentence

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
    said = sentence(loop, report["provenance"]["device"])
    return f"{table}\n\nThe run's last lines say what its time loop moved: {said}."


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


def takeover():
    result, closure = read("takeover"), read("closure")["rows"]
    rows = []
    for name in ("advection-diffusion", "Burgers", "Kuramoto-Sivashinsky", "Navier-Stokes"):
        found = result.get(name)
        if found is None:
            rows.append([name, "not measured", *[""] * 4])
            continue
        far = found["far"]
        rows.append(
            [
                f"{name}, {' × '.join(map(str, found['points']))}",
                f"{found['within']} of {found['seeds']}",
                str(found["violations_not_flagged"]),
                f"{found['error_largest']:.1e}",
                f"{100 * found['part_taken_over']:.0f} %, {100 * far['part_taken_over']:.0f} %",
                f"{1e3 * found['cpu_seconds_alone']:.2g}, {1e3 * found['cpu_seconds_with']:.2g}",
            ]
        )
    header = [
        "tolerance 1e-2",
        "seeds within it",
        "violations not flagged",
        "largest error",
        "steps taken over; far outside the training set",
        "CPU ms alone, with",
    ]
    notes = [_random_weights(result.get("random")), _trained_in_the_run(result.get("fast"))]
    for row in closure.values():
        patches, network = row["patches"], row["network"]
        notes.append(
            f"Burgers on 64 points, ν = {row['nu']:g}, with a correction learnt beside a run on 1024: "
            f"{patches['ratio_median']:.2f} of the error, halved on {patches['halved']} of {patches['seeds']} seeds; "
            f"by a network {network['ratio_median']:.2f}, {network['halved']}, and {network['ratio_worst']:.1f} times it "
            "on its worst."
        )
    return "\n\n".join([markdown(header, rows), *notes])


def _random_weights(result):
    if result is None:
        return "What random weights cost: not measured."
    listed = "; ".join(
        f"{name} {100 * row['rejected']:.0f} %, {row['cost_median']:.2f} times the solver's time"
        for name, row in result.items()
    )
    return (
        f"Random weights are rejected: {listed}. On shorter runs they cost more: log₂ n proposals over n intervals; where a "
        "trainer watches, none."
    )


def _trained_in_the_run(result):
    small = "On small grids a surrogate costs more than the solver."
    if result is None:
        return f"{small} Where it is faster: not measured."
    each = result["rows"][0]
    return (
        f"{small} Kuramoto–Sivashinsky on 256 points, {result['members']} members, with a surrogate that is trained in the run "
        f"itself: {result['speedup_median']:.1f} times as fast as the solver alone, training included, final error "
        f"{each['error']:.1e}, estimated {each['estimated_error']:.1e}, in CPU time, with `safety: 0.5`. Other settings that "
        "were tried gave 0.9 (128 points, 64 members) to 1.4 (256 points, half the time, the default safety of 2)."
    )


def n_waves():
    result = read("n_waves")
    rows = [
        [
            row["model"],
            *(f"{row[key]:.4f}" for key in ("error", "inside", "outside")),
            str(row["weights"]) if row["weights"] else "–",
            f"{row['cpu_seconds']:.0f}" if row["weights"] else "–",
        ]
        for row in result["rows"]
    ]
    published = ["CAE-LSTM, published", f"{result['published']:.4f}", "", "", "", ""]
    place = sum(row["error"] < result["published"] for row in result["rows"])
    rows.insert(place, published)
    return markdown(
        ["rel-L2, N-waves", "all 13 Re", "250 … 1850", "50, 2050 …", "weights", "CPU s"], rows
    )


def pdebench():
    result = read("pdebench_burgers")
    rows = [
        [
            f"{row['nu']:g}",
            row["model"],
            f"{row['nrmse']:.1e}",
            f"{row['forecast']:.1e}",
            f"{row['persistence_nrmse']:.1e}",
            f"{row['published_fno']:.1e}",
            f"{row['members']} × {row['epochs']}, {row['cpu_seconds']:.0f} s",
        ]
        for row in result["rows"]
    ]
    header = ["ν", "core", "nRMSE", "of the forecast", "persistence", "PDEBench's FNO"]
    table = markdown([*header, "members × epochs, CPU"], rows)
    return (
        f"{table}\n\nPDEBench's definition counts the {result['given']} given states too, at which the error is 0; the next "
        f"column does not. Theirs: 9000 members, 500 epochs, a GPU. {result['tested']} members tested."
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


def online():
    result = read("online_overlap")
    rows = []
    for row in result["pairs"]:
        loads = [each["load"] for each in row["rounds"]]
        rows.append(
            [
                row["pair"],
                f"{100 * row['inflation']:.1f} %",
                f"{row['training_steps']:.0f}",
                f"{100 * row['unlimited_inflation']:.1f} %",
                f"{row['unlimited_training_steps']:.0f}",
                f"{min(loads):.1f} to {max(loads):.1f}",
            ]
        )
    header = [
        "training beside the solver",
        f"p95 inflation, budget {100 * result['budget']:.0f} %",
        "training steps",
        "p95 inflation, no budget",
        "training steps",
        "load average",
    ]
    first = result["pairs"][0]
    return (
        f"{markdown(header, rows)}\n\nMedians of {len(first['rounds'])} rounds, each beside an undisturbed run, of "
        f"{first['bursts']} bursts; one thread solves, one trains, {result['cores']} cores. On GPUs: not measured."
    )


def application():
    result = read("application_overhead")
    rows = [
        [
            f"{row['points']:,} points, {row['ranks']} rank{'s' if row['ranks'] > 1 else ''}, every {row['every']}",
            f"{row['alone_cpu_us']:.1f} ({row['alone_us']:.1f})",
            f"{row['coupled_cpu_us']:.1f} ({row['coupled_us']:.1f})",
            f"{row['snapshot_cpu_us']:.0f}",
            f"{row['memcpy_us']:.1f}",
        ]
        for row in result["rows"]
    ]
    header = [
        "a step of the C++ mini-app, µs of the core (of the clock)",
        "alone",
        "coupled",
        "a snapshot adds",
        "memcpy of it",
    ]
    return (
        f"{markdown(header, rows)}\n\nMedians of {result['rounds']} bursts of each in turn, of the slowest rank; Serial, a core "
        f"each, {result['cpu']}. A snapshot is a call into Python and a copy to the ring, on several ranks also a sum over them."
    )


def batch():
    result = read("batch_jobs")
    rows = [
        [
            row["trial"],
            str(row["jobs"]),
            ", ".join(str(step) for step in row["began_at_step"]),
            row["status"],
            str(row["differences"]),
        ]
        for row in result["rows"]
    ]
    header = ["end of each job", "jobs", "began at step", "status", "differences"]
    return (
        f"{markdown(header, rows)}\n\nRuns of {result['case']} with walltimes of {result['walltime']} s under "
        f"{result['scheduler']}, whose commands for Torque stand for PBS. Differences: values in report, series, bases, "
        f"weights and final fields with other bits than those of a run without interruption. {result['conditions'].capitalize()}."
    )


def newcomer():
    result = read("newcomer")
    first, installed, used = (
        result[name] / 60 for name in ("first_figure_seconds", "installed_seconds", "cpu_seconds")
    )
    return (
        f"From a bare machine to the first figure: {len(result['commands'])} commands, `git clone` and that line, and "
        f"{first:.1f} minutes, {installed:.1f} of them for the installation ({used:.1f} minutes of a core in all; "
        f"{result['cores']} cores, load average {result['load'][0]:.1f}, a package index nearby)."
    )


def navier_stokes_ranks():
    result = read("navier_stokes_ranks")
    ranks = sorted({row["ranks"] for row in result["rows"]})
    rows = []
    for n, first in enumerate(result["rows"]):
        if first["ranks"] > ranks[0]:
            continue
        found = result["rows"][n : n + len(ranks)]
        each = "" if first["scaling"] == "strong" else " a rank"
        cells = [
            f"{row['ms_per_step']:.0f}, {100 * row['share_of_communication']:.0f} %, {row['computing_ms_per_step']:.0f}"
            for row in found
        ]
        sent = f"{found[1]['messages_per_step_and_rank']:.0f}, {found[1]['bytes_per_step_and_rank'] / 1e6:.1f}"
        iterations = "/".join(f"{row['iterations_per_step']:.0f}" for row in found)
        size = " × ".join(map(str, first["points"]))
        rows.append([f"{first['scaling']}, {size}{each}", *cells, iterations, sent])
    header = ["Navier-Stokes, a step", *(f"{n} rank{'s' * (n > 1)}" for n in ranks)]
    table = markdown([*header, "V-cycles", f"messages, MB of a rank of {ranks[1]}"], rows)
    return (
        f"{table}\n\nIn a cell: ms, the share of packing, waiting and reductions, ms of its processor that a rank computes. "
        f"The fastest of {result['repeats']} rounds, {result['cores']} cores: 4 ranks take turns, so their ms say nothing. A "
        "pressure solve is many small exchanges and a few reductions."
    )


def field_models():
    result = read("field_models")
    rows = [
        [
            " × ".join(map(str, row["points"])),
            f"{row['layers']} of {row['channels']}, {row['precision'].removeprefix('torch.')}",
            str(row["influence"][0] if isinstance(row["influence"], list) else row["influence"]),
            *(f"{row[f'{way}_ms']:.2f}" for way in ("wide", "staged", "chosen")),
        ]
        for row in result["rows"]
    ]
    header = [
        "grid",
        "layers of channels",
        "influence",
        "wide halo, ms",
        "staged, ms",
        "chosen, ms",
    ]
    return (
        f"{markdown(header, rows)}\n\nConvolutions of five cells evaluated on {result['ranks']} ranks, one thread each: one "
        "halo as wide as the influence, or one exchange a layer; medians."
    )


def restart():
    result = read("restart")
    rows = []
    for case in dict.fromkeys(trial["case"] for trial in result["trials"]):
        trials = [trial for trial in result["trials"] if trial["case"] == case]
        kills = [kill for trial in trials for kill in trial["kills"]]
        in_fit = [kill for kill in kills if "learning" in (kill["checkpoint"] or "")]
        same = sum(len(trial["kills"]) for trial in trials if not trial["differences"])
        stages = [kill["stage"] for kill in kills]
        counts = (
            *(stages.count(stage) for stage in ("time loop", "learning", "finished")),
            len(in_fit),
            sum(kill["while_writing"] for kill in kills),
            same,
        )
        rows.append([case, str(trials[0]["ranks"]), str(len(kills)), *map(str, counts)])
    table = markdown(
        [
            "",
            "ranks",
            "kills",
            "in the time loop",
            "in learning",
            "at the end",
            "resumed within a fit",
            "a checkpoint half written",
            "the same bits",
        ],
        rows,
    )
    return (
        f"{table}\n\n{result['same']} of {result['kills']} kills of a random rank at random moments, each followed by the "
        "same command, left report, series, bases, weights and final fields of the run without a kill, to the bit."
    )


TABLES = (
    newcomer,
    application,
    batch,
    restart,
    forecast,
    n_waves,
    pdebench,
    streaming,
    online,
    takeover,
    accuracy,
    flows,
    multigrid,
    speed,
    equations,
    scaling,
    navier_stokes_ranks,
    field_models,
)


PAGES = (
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("first_run.md", "measurements.md")),
)


def main():
    pages = {page: page.read_text() for page in PAGES}
    for make in TABLES:
        marker = rf"(<!-- table: {make.__name__} -->\n).*?(<!-- end -->)"
        written = f"{make()}\n"
        count = 0
        for page, text in pages.items():
            pages[page], found = re.subn(
                marker, lambda match, text=written: match[1] + text + match[2], text, flags=re.S
            )
            count += found
        if not count:
            names = " or ".join(page.name for page in PAGES)
            raise SystemExit(f"{names} must hold '<!-- table: {make.__name__} -->', found none")
    for page, text in pages.items():
        page.write_text(text)


if __name__ == "__main__":
    main()
