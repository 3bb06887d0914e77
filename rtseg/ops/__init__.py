"""Pure functions on arrays: no frames, no models, no state."""
