"""Streams that never end: changed while they run, in time under load, and closed to the room when something fails."""
