"""`python -m verify`: see `verify.cli`."""

import sys

if __name__ == "__main__":
    try:
        from verify.cli import main

        main()
    except KeyboardInterrupt:  # before a command runs, which says more: while modules are loaded
        sys.exit(130)
