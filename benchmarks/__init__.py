"""Every figure in the documentation comes from a script here: `python -m benchmarks.pipeline --help`."""
