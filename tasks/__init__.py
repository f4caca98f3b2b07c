"""The pipeline's stages, one module each: `python -m tasks.NAME` is what DVC runs.

OpenMP reads its settings when torch loads it. Threads that spin while they wait make two of them
many times slower than one as soon as anything else wants a core, so they sleep.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
