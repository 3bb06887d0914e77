"""Running a network: engines, the providers and buffers below them, and the scheduler for many streams above."""
