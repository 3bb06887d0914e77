"""The GStreamer element `rtseg`: `python/rtseg_element.py` is what GStreamer loads, the rest knows nothing of it."""

from __future__ import annotations

from pathlib import Path

PLUGINS = Path(__file__).parent
"""What GST_PLUGIN_PATH must name: GStreamer's loader of Python plug-ins looks into `python/` there."""
