"""Replaces the files of an earlier evaluation by new ones: all at once, when the new ones are complete."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from utils.mistake import Mistake

WRITTEN_LIST = ".written.txt"  # what an evaluation wrote into the folder, a name a line
TEMPORARY = ".results-"  # beginning of the folder that a report is written to first


def replace_files(folder: Path, write: Callable[[Path], Sequence[Path]]) -> list[Path]:
    """Write files into a folder in place of those that the call before wrote there; other files stay.

    Args:
        folder: It exists.
        write: Writes the files into a folder, and returns them.
    Returns:
        The files, in the order of ``write``.
    Raises:
        OSError: If a file cannot be written; the earlier files are then still there. If one cannot be moved, the
            message says where the new ones are.
    """
    for leftover in folder.glob(f"{TEMPORARY}*"):  # of an evaluation that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=TEMPORARY))
    try:
        names = [str(path.relative_to(temporary)) for path in write(temporary)]
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    try:
        _move(names, temporary, folder)
    except (OSError, Mistake) as error:
        rest = temporary.rename(folder / temporary.name.lstrip("."))  # the next evaluation leaves this name alone
        raise Mistake(f"{error} The results that are not in place are in {rest}.") from error
    return [folder / name for name in names]


def _move(names: list[str], source: Path, folder: Path) -> None:
    """Move files into a folder, and delete those of the evaluation before that have no successor."""
    for name in names:
        if (folder / name).is_dir():
            raise Mistake(f"{folder / name} is a folder where a file of the results belongs: move it away.")
    list_file = folder / WRITTEN_LIST
    earlier = list_file.read_text("utf-8", "surrogateescape").splitlines() if list_file.is_file() else []
    list_file.write_text("".join(f"{name}\n" for name in dict.fromkeys([*earlier, *names])), "utf-8", "surrogateescape")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(folder / name)
    for name in earlier:
        if name not in names:
            (folder / name).unlink(missing_ok=True)
    list_file.write_text("".join(f"{name}\n" for name in names), "utf-8", "surrogateescape")
    shutil.rmtree(source)
