"""Decoding and encoding by PyAV, under the name that loops import it by: see `rtseg.bench.video`."""

from rtseg.bench.video import Writer, decode, read_picture

__all__ = ["Writer", "decode", "read_picture"]
