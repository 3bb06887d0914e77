"""What a compared loop is told and what it reports, under the name that loops import it by: see `rtseg.bench.job`."""

from rtseg.bench.job import Job, Meter, Report, main, peak_memory_mb

__all__ = ["Job", "Meter", "Report", "main", "peak_memory_mb"]
