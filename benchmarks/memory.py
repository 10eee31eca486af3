"""Peak memory of a process, counted from a moment on. Linux."""

from pathlib import Path


def forget_peak() -> None:
    """The peak of this process begins anew, at what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb(process: str = "self") -> float:
    """The most memory that the process has held, MB; 0 of one that has just ended. OSError of one that is gone."""
    lines = Path("/proc", process, "status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)
