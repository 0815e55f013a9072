"""Print and write the summary of tests/gpu/run.sh: summary.py OUTPUT BUILD_SECONDS FAILED."""

import json
import re
import sys
from pathlib import Path

import torch

output, build_seconds, failed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] != "0"
tests = (output / "gpu-tests.log").read_text().strip().splitlines()
report_file = output / "run" / "report.json"
report = json.loads(report_file.read_text()) if report_file.exists() else {}
summary = {
    "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    "torch": torch.__version__,
    "build_seconds": build_seconds,
    "tests": re.sub(r"=+", "", tests[-1]).strip() if tests else "none ran",
    "status": "failed" if failed else report.get("status"),
    "stages": report.get("stages"),
    "learning": report.get("learning"),
}
(output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
print(json.dumps(summary, indent=2))
