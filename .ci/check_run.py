"""Fail unless a run directory holds what the main job promises: check_run.py RUN_DIR."""

import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
report = json.loads((folder / "report.json").read_text())
loop = next(stage for stage in report["stages"] if stage["name"] == "time loop")
figures = [
    "field_evolution",
    "modes",
    "mode_0_forecast",
    "mode_1_forecast",
    "mode_2_forecast",
    "training",
    "stage_times",
]
wanted = [
    "case.yaml",
    "series.csv",
    "basis.npz",
    "model.pt",
    *(f"figures/{name}.png" for name in figures),
]
problems = [f"{name} is missing" for name in wanted if not (folder / name).is_file()]
problems += ["the run did not finish"] * (report["status"] != "finished")
problems += ["bytes crossed between host and device"] * (
    loop["host_to_device"] + loop["device_to_host"] != 0
)
problems += ["a field was copied beside the sampler"] * (loop["copies"] != 0)
problems += [
    f"split {name} is missing" for name in ("published", "causal") if name not in report["learning"]
]
sys.exit("\n".join(problems) or None)
