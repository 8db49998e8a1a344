"""Sets files of an earlier run aside instead of overwriting them."""

import itertools
from pathlib import Path


def set_aside(path: Path, ending: str = "old") -> Path:
    """Rename a file to the first free name among NAME.old, NAME.old2, NAME.old3, ...; returns the new path."""
    names = (f"{path.name}.{ending}{number if number > 1 else ''}" for number in itertools.count(1))
    return path.rename(next(aside for aside in map(path.with_name, names) if not aside.exists()))
