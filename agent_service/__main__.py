"""``python -m agent_service`` is the command line."""

import os
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is being imported is no failure, and shows no traceback."""
    try:
        from agent_service.cli import main as run  # noqa: PLC0415 - takes a moment, in which Ctrl-C may come

        run()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr, flush=True)  # noqa: T201 - the command line's own word
        os._exit(130)


if __name__ == "__main__":
    main()
