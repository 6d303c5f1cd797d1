"""How much memory this process has held at most: VmHWM, since getrusage counts what the parent held when it began."""

from benchmarks.scale.peak_memory import own_peak_bytes as peak_bytes

__all__ = ["peak_bytes"]
