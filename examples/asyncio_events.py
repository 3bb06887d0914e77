"""Say when somebody comes into the picture and when they leave, beside whatever else an asyncio program does.

python examples/asyncio_events.py in.mp4
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import rtseg


async def changes(source: str) -> AsyncIterator[tuple[float, bool]]:
    """The times, in seconds, at which somebody comes (True) or leaves (False)."""
    there = False
    async for output in rtseg.astream(source, model="portrait", adaptive=True):
        covered = (rtseg.masks_of(output.segmentation)["person"] > 127).mean()
        if (covered > 0.02) != there:
            there = not there
            yield output.frame.time, there


async def main(source: str) -> int:
    """Print what happens; gives how often something did."""
    count = 0
    async for time, there in changes(source):
        print(f"{time:7.2f} s  {'somebody is there' if there else 'nobody is there'}")
        count += 1
    return count


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
