"""One arithmetic on every x86-64 processor with AVX2: equal input gives equal bits.

NumPy and its OpenBLAS choose their kernels by the widest registers that the processor has, and add
in another order on each; so does OpenBLAS by the number of its threads. So both are kept to AVX2,
and products to one thread, before NumPy is loaded; whoever sets these variables otherwise keeps
that. Why, and what it costs: docs/decisions/0014-one-arithmetic.md.
"""

import os
import platform
from pathlib import Path
from typing import Final

KERNELS: Final = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
"""What both libraries read from the environment, once, when they are loaded."""
THREADS: Final = {"OPENBLAS_NUM_THREADS": "1"}
"""The same, of any processor: sums are parted among threads."""


def pin() -> None:
    """Keep NumPy and OpenBLAS to one arithmetic, in this process and those it starts."""
    for name, value in (THREADS | KERNELS if _has_avx2() else THREADS).items():
        os.environ.setdefault(name, value)


def _has_avx2() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        return False
    flags = next((line for line in cpuinfo.open() if line.startswith("flags")), "")
    return {"avx2", "fma"} <= set(flags.split())
