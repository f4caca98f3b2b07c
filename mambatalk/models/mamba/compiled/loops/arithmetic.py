"""Elementary functions in single precision that numba compiles for many numbers at once."""

import math
from typing import Any, Final

import llvmlite.binding
import numba
import numpy as np

single = np.float32
word = np.int32
bits = np.uint32

# Coefficients of 2^x = exp(x ln 2) around 0. With seven of them the error on [-0.5, 0.5] is 5e-9,
# less than the rounding of single precision.
P1, P2, P3, P4, P5, P6, P7 = (
    single(math.log(2) ** power / math.factorial(power)) for power in range(1, 8)
)
LOG2_E: Final = single(math.log2(math.e))
ZERO, HALF, ONE, TWO = single(0), single(0.5), single(1), single(2)
SMALLEST, LARGEST = single(-126), single(126)

# The compiler vectorises a loop only if it can check that the arrays it writes overlap no others,
# and gives up at eight such checks, which a loop over four arrays can need. The checks cost less
# than the additional loops that would need fewer.
llvmlite.binding.set_option("mambatalk", "--runtime-memory-check-threshold=100")

# Sums over channels are reordered, and multiplications fused with additions. NaN and infinity keep
# their meaning, since a loss that is not finite must be seen.
_helper = numba.njit(fastmath={"contract"}, error_model="numpy", cache=True)
_FAST: Final = {"reassoc", "contract", "nsz"}


@_helper
def exp2(x: Any) -> Any:
    """Return 2^x with the precision of single floats. NaN stays NaN.

    The processor's own function would be called for one number at a time.
    """
    bounded = min(max(x, SMALLEST), LARGEST)
    whole = np.floor(bounded + HALF)
    f = bounded - whole
    fraction = ONE + f * (P1 + f * (P2 + f * (P3 + f * (P4 + f * (P5 + f * (P6 + f * P7))))))
    # The exponent of a single float lies in bits 23 to 30, with an offset of 127.
    power = word(word(word(whole) + word(127)) << word(23)).view(single)
    return fraction * power


@_helper
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x)."""
    return ONE / (ONE + exp2(-x * LOG2_E))


@_helper
def softplus(x: Any) -> Any:
    """Return log(1 + e^x), by the series of log((1 + s) / (1 - s)) with s at most a third."""
    small = exp2(-abs(x) * LOG2_E)
    s = small / (TWO + small)
    q = s * s
    series = ONE / single(15)
    series = ONE / single(13) + q * series
    series = ONE / single(11) + q * series
    series = ONE / single(9) + q * series
    series = ONE / single(7) + q * series
    series = ONE / single(5) + q * series
    series = ONE / single(3) + q * series
    return max(x, ZERO) + TWO * s * (ONE + q * series)


@_helper
def random_bits(seed: Any, index: Any) -> Any:
    """Return 32 random bits, a function of the seed and the index alone.

    A sequence of constant increments goes through the last steps of MurmurHash3 (SplitMix32), so
    that neighbouring numbers are independent and all can be computed at once.
    """
    x = bits(bits(seed) + bits(bits(index) * bits(0x9E3779B9)))
    x = bits((x ^ (x >> bits(16))) * bits(0x85EBCA6B))
    x = bits((x ^ (x >> bits(13))) * bits(0xC2B2AE35))
    return x ^ (x >> bits(16))


def compiled(function: Any, *arguments: Any) -> Any:
    """Compile a function without a result for arguments of the given numba types."""
    signature = numba.void(*arguments)
    return numba.njit(signature, fastmath=_FAST, error_model="numpy", cache=True)(function)
