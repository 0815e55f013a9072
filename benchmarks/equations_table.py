"""The README's table of `equations.json`, for `tables.py`: rows are contenders, columns cases, "ms (ratio)"."""

TITLES = {
    "burgers_1d": "1-D Burgers",
    "burgers_2d": "2-D Burgers, two components",
    "advection_diffusion_3d": "3-D advection-diffusion",
    "ensemble_1d": "ensemble of 1-D Burgers",
}
ROOF = "copy, one read and one write of the state a step"
BLOCKED, ONE_PASS = "C++/OpenMP, blocked", "C++/OpenMP, one pass"
FORMS = (
    "roll",
    "padded",
    "slices",
    "a member at a time",
    "members side by side",
)  # of one peer: the faster counts


def equations(result, markdown):
    """Return the table and its notes; ``markdown(header, rows)`` lays the table out."""
    cases = result["cases"]
    times = {case["case"]: _merged(case) for case in cases}
    names = list(dict.fromkeys(name for column in times.values() for name in column))
    header = ["ms (ratio to C++ blocked)", *(_title(case) for case in cases)]
    rows = [[name, *(_cell(times[case["case"]], name) for case in cases)] for name in names]
    return f"{markdown(header, rows)}\n\n{_notes(result)}"


def _merged(case):
    """Return contender → milliseconds, of several forms of one peer the fastest."""
    column = {}
    for row in case["rows"]:
        name, _, form = row["contender"].partition(", ")
        is_form = form in FORMS
        name = name if is_form else row["contender"]
        column[name] = min(row["milliseconds"], column.get(name, float("inf")))
    return column


def _title(case):
    shape = " × ".join(_number(n) for n in case["shape"])
    return f"{TITLES[case['case']]}, {shape}, {case['steps']} steps"


def _number(n):
    power = n.bit_length() - 1
    return f"2^{power}" if n == 1 << power and power > 14 else str(n)


def _cell(column, name):
    if name not in column:
        return "–"
    ratio = column[name] / column[BLOCKED] if BLOCKED in column else float("nan")
    return f"{_three_digits(column[name])} ({ratio:.2f})"


def _three_digits(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _notes(result):
    copies = [case["copy_gb_s"] for case in result["cases"] if "copy_gb_s" in case]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    per_pass = ", ".join(
        f"{number} in {TITLES[name]}" for name, number in result["steps_per_pass"].items()
    )
    notes = [
        f"Medians of up to {result['repeats']} interleaved runs, {result['threads']} threads of {result['cpu']}, float64; "
        f"explicit Euler, central differences, periodic. `g++ {result['flags']}`; {versions}.",
        "C++ plain is the sweep as one writes it; C++ one pass adds prefetching and stores past the caches; C++ vector lanes has "
        "the members of the ensemble side by side, a step at a time.",
        f"C++ blocked takes several steps in one pass over memory ({per_pass}; the ensemble stays in L1), so it may pass the "
        f"roof{_roof(copies)}. Where a peer was written in more than one way, the faster one counts.",
    ]
    gone = sorted({name for case in result["cases"] for name in case["missing"]})
    if gone:
        notes.append(f"Not there or failed: {', '.join(gone)}.")
    if not any(name.startswith("CUDA") for case in result["cases"] for name in _merged(case)):
        notes.append("The CUDA peers were never measured.")
    return "\n\n".join(notes)


def _roof(copies):
    return (
        f" of the one-pass ones, the copy ({min(copies):.0f} to {max(copies):.0f} GB/s)"
        if copies
        else ""
    )
