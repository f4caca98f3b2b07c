"""The stages of the pipeline, one module each: DVC runs `python -m tasks.STAGE`."""

import os
import sys

# OpenMP reads this when torch loads it. Threads that spin while they wait make two threads many
# times slower than one as soon as another process needs a core; passive threads sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The module of a stage imports for seconds before its first line runs, and DVC may be killed in
# that time. While Python looks a module up, the first argument is "-m".
if "DVC_STAGE" in os.environ and sys.argv[:1] == ["-m"]:
    from tasks.runtime.processes import terminate_with_dvc

    terminate_with_dvc()
