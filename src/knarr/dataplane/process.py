"""The data plane's process: ``python -m knarr.dataplane.process --config FILE``.

Imports next to nothing, so that the process's memory is Rust's.
"""

import os
import sys

from knarr.dataplane._native import DataplaneFault, run

_USAGE = "usage: python -m knarr.dataplane.process --config FILE\n"


def main(arguments: list[str]) -> int:
    """Run the data plane.

    Args:
        arguments: ``--config`` and a path to a JSON object, without the program's name.

    Returns:
        The exit code: 0 after SIGTERM, EX_CONFIG when it cannot start, 2 for wrong arguments.
    """
    if len(arguments) != 2 or arguments[0] != "--config":
        sys.stderr.write(_USAGE)
        return 2
    try:
        with open(arguments[1], "rb") as file:  # noqa: PTH123 - pathlib costs 2 MB of memory
            config = file.read()
        run(config)
    except (DataplaneFault, OSError) as error:
        sys.stderr.write(f"knarr dataplane: {error}\n")
        return os.EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
