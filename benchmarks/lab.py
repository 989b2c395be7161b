"""The experiments of `attn lab`, each measured beside what its paper predicts: `python benchmarks/lab.py [NAME...]`."""

import sys
import time

from rows import keep

from attn.lab.experiment import EXPERIMENTS, load, table


def main() -> None:
    """Run them with seed 0, and keep a row for each prediction."""
    for name in sys.argv[1:] or EXPERIMENTS:
        experiment = load(name)
        began = time.process_time()
        outcome = experiment.run(0, lambda: None)
        seconds = time.process_time() - began
        for row in table(experiment.predictions, [outcome]):
            keep("lab", {"what": f"{name}: {row['quantity']}", "experiment": name, "seconds": round(seconds, 1), **row})


if __name__ == "__main__":
    main()
