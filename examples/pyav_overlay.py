"""Lay what a model sees over a video, with PyAV at both ends: decoder and encoder are yours, rtseg stands between.

python examples/pyav_overlay.py in.mp4 out.mp4 [model]
"""

import sys

import av
import numpy as np

import rtseg
from rtseg.sources.planes import PlaneReader


def main(source: str, target: str, model: str = "road") -> int:
    """Write `target` and give the number of frames."""
    pipeline = rtseg.load_pipeline(model=model, overlay="all")
    read = PlaneReader()  # planes are views of the decoder's memory; matrix and range come with them
    count = 0
    with av.open(source) as reading, av.open(target, "w") as writing:
        video = reading.streams.video[0]
        stream = writing.add_stream("libx264", rate=video.average_rate, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        if video.time_base is not None:
            stream.codec_context.time_base = video.time_base
        for decoded in reading.decode(video):
            assert decoded.pts is not None
            assert decoded.time_base is not None
            planes, colour, _ = read(decoded)
            frame = rtseg.Frame(planes, colour, index=count, pts=decoded.pts, time_base=decoded.time_base)
            picture = pipeline(frame).picture
            writing.mux(stream.encode(as_av(picture)))
            count += 1
        writing.mux(stream.encode(None))
    return count


def as_av(picture: rtseg.Frame) -> av.VideoFrame:
    """A picture of 4:2:0 as PyAV's frame; `av.VideoFrame.from_ndarray(picture.rgb, "rgb24")` goes by way of RGB."""
    frame = av.VideoFrame(*picture.size, "yuv420p")
    for plane, pixels in zip(frame.planes, picture.planes, strict=True):
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        lines[: pixels.shape[0], : pixels.shape[1]] = pixels
    frame.pts, frame.time_base = picture.pts, picture.time_base
    return frame


if __name__ == "__main__":
    print(main(*sys.argv[1:]), "frames")
