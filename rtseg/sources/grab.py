"""A process that has FFmpeg and nothing else: takes an X11 screen and writes it to standard output, unencoded.

OpenCV brings a libxcb-shm of the same name as PyAV's. Whichever is loaded first serves both, with the other's libxcb
under it, and taking the screen then ends the process. Here is no OpenCV.
"""

from __future__ import annotations

import sys

import av


def main() -> int:
    """Arguments: the display, then FFmpeg's options as KEY=VALUE; ends with the reader or the display."""
    display, *pairs = sys.argv[1:]
    options = dict(pair.split("=", 1) for pair in pairs)
    try:
        with (
            av.open(display, format="x11grab", options=options) as screen,
            av.open(sys.stdout.buffer, "w", format="nut", options={"flush_packets": "1"}) as pipe,
        ):
            source = screen.streams.video[0]
            stream = pipe.add_stream_from_template(source)
            for packet in screen.demux(source):
                if packet.dts is not None:
                    packet.stream = stream
                    pipe.mux(packet)
    except (av.error.FFmpegError, OSError) as error:
        print(error.strerror or type(error).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
