"""`python -m yosort` is the `yosort` command."""

import sys

from yosort.cli import main

sys.exit(main())
