"""The program `nt-study`, also as `python -m nt_study`."""

from __future__ import annotations

import sys

from nt_study.rooms import check_rooms


def main() -> None:
    """Run the command line, once it is known to be ours."""
    try:
        check_rooms()
    except ImportError as error:
        print(f"nt-study: {error}", file=sys.stderr)
        sys.exit(2)
    from study.cli import main as run

    run()


if __name__ == "__main__":
    main()
