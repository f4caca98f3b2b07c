"""Layers of the generator in single precision on a CPU, as loops that numba compiles.

In PyTorch each of these layers is tens to hundreds of operations that read and write memory. One
loop does all arithmetic on a number while it is in the cache. `docs/experiments.md` has the
measurements.
"""
