#!/usr/bin/env python3
"""The converter of `yosort convert` as a script: SOURCE OUT [options]; --help lists them."""

import sys

from yosort.cli.converting import convert_main

if __name__ == "__main__":
    sys.exit(convert_main())
