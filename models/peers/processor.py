"""What of the processor decides how much faster int8 is: its name, and whether it multiplies bytes four at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CPUINFO: Final = Path("/proc/cpuinfo")
NAMES: Final = ("model name", "Model")  # on x86; of the board, on Arm
FLAGS: Final = ("flags", "Features")
DOT_PRODUCTS: Final = {"avx512_vnni", "avx_vnni", "asimddp"}


def processor(cpuinfo: Path = CPUINFO) -> str:
    """Such as ``AMD EPYC, without int8 dot products``; empty where Linux does not say."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    said = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
    name = next((said[key] for key in NAMES if said.get(key)), "a processor without a name")
    flags = next((said[key] for key in FLAGS if key in said), None)
    if flags is None:
        return name
    return f"{name}, {'with' if DOT_PRODUCTS & set(flags.split()) else 'without'} int8 dot products"
