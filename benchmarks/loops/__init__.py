"""The compared programs: each module is run by itself, as `python -m benchmarks.loops.NAME JOB`."""
