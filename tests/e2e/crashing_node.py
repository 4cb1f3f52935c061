"""A node agent that dies after its n-th line in an intent log: ``crashing_node.py SETTINGS N``.

Lines count from when the file ``armed`` is in the data directory.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

import uvloop

from knarr.config import read_settings
from knarr.node.process import run_node


def main() -> None:
    left = [int(sys.argv[2])]
    armed = read_settings(Path(sys.argv[1])).paths.root / "armed"

    def crash_point(op: str, step: str) -> None:
        left[0] -= armed.exists()
        if left[0] == 0:
            print(f"crash after {op} {step}", flush=True)
            os._exit(9)

    async def run() -> None:
        settings = read_settings(Path(sys.argv[1]))
        await run_node(
            settings, asyncio.Event(), rng=random.Random(), crash_point=crash_point, spares=0
        )

    uvloop.run(run())


main()
