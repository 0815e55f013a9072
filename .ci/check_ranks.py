"""Fail where a test of tests/mpi was skipped for want of ranks in every run: check_ranks.py FILE, as --record-ranks wrote it."""

import json
import sys
from collections import defaultdict
from pathlib import Path

ran: dict[str, list[int]] = defaultdict(list)
for line in Path(sys.argv[1]).read_text().splitlines():
    record = json.loads(line)
    ran[record["test"]] += [record["ranks"]] * record["suits"]
never = [test for test, ranks in ran.items() if not ranks]
counts = sorted({count for ranks in ran.values() for count in ranks})
for count in counts:
    print(f"{count} ranks: {sum(count in ranks for ranks in ran.values())} of {len(ran)} tests")
sys.exit("\n".join(f"{test} was run on no number of ranks" for test in never) or None)
