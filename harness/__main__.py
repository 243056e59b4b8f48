"""`python -m harness`: see `harness.cli`."""

import sys

if __name__ == "__main__":
    try:
        from harness.cli import main

        main()
    except KeyboardInterrupt:  # before a command runs, which says more: while modules are loaded
        sys.exit(130)
