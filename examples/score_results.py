"""Score the npz files of any method: `python examples/score_results.py RESULTS TRUTH AUDIO`.

Each argument is a file, or a folder whose files are matched by clip name. FGD needs an encoder and
is left out here: `mambatalk evaluate --help` shows how to name one.
"""

import sys

from mambatalk import evaluate
from mambatalk.metrics.catalogue import CATALOGUE, metric_value

scores = evaluate(*sys.argv[1:4])

print(f"{'corrected metric':34}{'result':>12}{'recordings':>12}")
for key, metric in CATALOGUE.items():
    if key in scores["rows"]["result"]:
        result, truth = (metric_value(scores, row, key) for row in ("result", "ground_truth"))
        if result is not None:
            print(f"{metric.heading:34}{metric.format(result):>12}{metric.format(truth):>12}")
for note in scores["notes"]:
    print(f"note: {note}")
