"""The stages of the pipeline, one module each: DVC runs `python -m tasks.STAGE`."""

import os

# OpenMP reads this when torch loads it. Threads that spin while they wait make two threads many
# times slower than one as soon as another process needs a core; passive threads sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
