"""What lets the same command give the same bytes again, also on another machine."""

import os
import platform
import sys
from pathlib import Path

# harmonypy takes 31 bits, scikit-learn, UMAP and scVI 32; numpy takes none below zero.
LARGEST_SEED = 2**31 - 1


def fix_arithmetic() -> None:
    """Choose the same order of additions on every machine; to be called before numpy is loaded.

    OpenBLAS takes the kernel made for the processor that it finds, and numba as many threads as there are
    cores. Either changes the last bit of a few principal components, and a clustering can depend on it. What
    the user has set stays, and so does what is loaded already. Child processes inherit the choice.
    """
    if "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    if "numpy" not in sys.modules and _knows_avx2():
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")  # the oldest with AVX2, so that most can run it


def _knows_avx2() -> bool:
    """Whether this processor can run the kernel that OpenBLAS calls Haswell; others would crash."""
    facts = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not facts.is_file():
        return False
    return {"avx2", "fma"} <= set(facts.read_text(errors="replace").split())
