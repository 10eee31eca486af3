"""Importing faiss with the BLAS kernels that this processor has."""

import os
from pathlib import Path
from typing import Any


def import_faiss() -> Any:
    """The faiss module, with the BLAS kernels that this processor has.

    OpenBLAS inside faiss-cpu takes newer processors for old ones and then runs at a quarter of the speed;
    its choice can only be set before the first import, and only to what the processor really has.
    """
    if "OPENBLAS_CORETYPE" not in os.environ:
        flags = _processor_flags()
        if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
            os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
        elif {"avx2", "fma"} <= flags:
            os.environ["OPENBLAS_CORETYPE"] = "Haswell"
    import faiss

    return faiss


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
