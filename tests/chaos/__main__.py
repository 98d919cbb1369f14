"""A study whose workers and drivers are killed at random moments: does it come to what was promised?

    python -m tests.chaos [--trials 200] [--workers 4] [--kills 40] [--driver-kills 5] [--variant clock-jumps]

Prints what it came to and ends with 1 where a promise was not kept; the folder of the study is left then.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .variants import VARIANTS, Options


def main(argv: Sequence[str] | None = None) -> int:
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=default.trials)
    parser.add_argument("--workers", type=int, default=default.workers)
    parser.add_argument("--kills", type=int, default=default.kills, help="of workers")
    parser.add_argument("--driver-kills", type=int, default=default.driver_kills)
    parser.add_argument("--seed", type=int, default=default.seed, help="of the study, and of when which one is killed")
    parser.add_argument("--variant", choices=VARIANTS, default="kills", help="full-disk kills nobody")
    parser.add_argument("--skip-undisturbed", action="store_true", help="don't run the same trials undisturbed")
    parser.add_argument("--json", action="store_true", help="print the figures for programs")
    chosen = parser.parse_args(argv)
    compare = not chosen.skip_undisturbed
    options = Options(chosen.trials, chosen.workers, chosen.kills, chosen.driver_kills, chosen.seed, compare)
    folder = Path(tempfile.mkdtemp(prefix="pomona-chaos-"))
    report = VARIANTS[chosen.variant](folder / chosen.variant, options)
    print(json.dumps(report.as_json(), indent=2) if chosen.json else "\n".join(report.lines()))
    if report.problems:
        print(f"see {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
