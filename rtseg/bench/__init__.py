"""What a run costs, beside what nobody can avoid: `rtseg bench`, and the ground that `benchmarks/` stands on.

Empty on purpose: `rtseg.bench.job` and `rtseg.bench.video` also serve programs in environments without rtseg's
dependencies.
"""
