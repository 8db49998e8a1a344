"""What ``python tools/NAME.py`` imports in place of Python's own argparse: it says how to start the command."""

import sys
from pathlib import Path

if __name__ == "argparse":
    raise SystemExit(f"Type this in the folder of train_main.py: python -m tools.{Path(sys.argv[0]).stem}")
