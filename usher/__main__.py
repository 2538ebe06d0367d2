"""`python -m usher` is the command `usher`."""

import sys

from usher.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
