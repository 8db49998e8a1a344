"""What ``python tools/NAME.py`` imports in place of Python's own argparse: it says how to start the command."""

import os
import sys

if __name__ == "argparse":
    command = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    raise SystemExit(f"Type this in the folder of train_main.py: python -m tools.{command}")
