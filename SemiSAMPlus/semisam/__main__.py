"""``python -m semisam``."""

import sys

from semisam.cli import main

if __name__ == "__main__":
    sys.exit(main())
