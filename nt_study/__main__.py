"""The program `nt-study`, also as `python -m nt_study`."""

from __future__ import annotations

import sys

from nt_study.rooms import check_rooms


def main() -> None:
    """Run the command line, once it is known to be ours."""
    try:
        check_rooms()
        from study.cli import main as run
    except ImportError as error:
        print(f"nt-study: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # before `study.cli` has set up what answers it
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
