"""Which version of the code runs, to be written beside results."""

import subprocess
from pathlib import Path


def find_revision() -> str:
    """Return the abbreviated commit of this checkout, with '-dirty' after changes; 'unknown' without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
