"""What the check of ranks starts on two of them: ``python -m insitu.doctor CASE STEPS FILE``."""

import sys
from pathlib import Path

from insitu import ending
from insitu.config import load_case
from insitu.doctor.ranks import run_both_orders

if __name__ == "__main__":
    case, _ = load_case(sys.argv[1])
    run_both_orders(case, int(sys.argv[2]), Path(sys.argv[3]), ending.world())
