"""Write a copy of a data set whose frames are small, so that they are read and decoded faster."""

import io
import logging
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from utils.files import lock_folder, make_folder
from utils.mistake import Mistake
from utils.pictures import UnreadableFrameError, read_size
from utils.progress import track

from .clips.decoding import decode_frame
from .readers.listing import find_root, walk_folders
from .readers.names import count_kinds, is_image_name

logger = logging.getLogger(__name__)

JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}  # nearly what the decoder returns for the original
PNG = {"format": "PNG"}


def resize_copy(root: Path, output: Path, size_hw: tuple[int, int], num_workers: int = 1) -> Counter[str]:
    """Copy a data set with the same folders and names; frames are made smaller, all other files are copied.

    Both sides of a frame become at most those of ``size_hw``, in pixels; a frame that is smaller already, or cannot be
    read, is copied as it is. PNG files stay PNG, all others become JPEG. Returns how many files were 'resized',
    'copied', or 'kept' because they were in the copy already, as after a command that was stopped.
    """
    find_root(root, "a data set")
    source, target = root.resolve(), output.resolve()
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise Mistake(f"The copy {output} and the data set {root} must not lie in one another.")
    folders, warnings = walk_folders(root)
    jobs = [(folder.path, os.path.join(output, folder.place), folder.names) for folder in folders]
    done: Counter[str] = Counter()
    make_folder(target)
    pool = ProcessPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,))
    with lock_folder(target.parent, target.name), pool:
        results = pool.map(partial(_copy_folder, size_hw=size_hw), jobs)
        for count, unreadable in track(results, "resizing", "folder", total=len(jobs)):
            done += count
            warnings += [f"{text}: it is copied as it is." for text in unreadable]
    for text in count_kinds(warnings):
        logger.warning("%s", text)
    return done


def _copy_folder(job: tuple[str, str, Sequence[str]], size_hw: tuple[int, int]) -> tuple[Counter[str], list[str]]:
    """Copy the files of one folder; returns what was done, and sentences about frames that cannot be read."""
    folder, target, names = job
    os.makedirs(target, exist_ok=True)
    done: Counter[str] = Counter()
    unreadable = []
    for name in names:
        source, copy = os.path.join(folder, name), os.path.join(target, name)
        temporary = os.path.join(target, f".{name}.part")
        content = None
        if os.path.exists(copy):
            done["kept"] += 1
            continue
        if is_image_name(name):
            try:
                content = _shrink(source, size_hw)
            except UnreadableFrameError as error:
                unreadable.append(str(error).rstrip("."))
        if content is not None:
            Path(temporary).write_bytes(content)
            done["resized"] += 1
        elif os.path.isfile(source):  # no link that leads nowhere
            shutil.copyfile(source, temporary)
            done["copied"] += 1
        else:
            continue
        os.replace(temporary, copy)
    return done, unreadable


def _shrink(path: str, size_hw: tuple[int, int]) -> bytes | None:
    """Return the content of a smaller frame; None if it is small enough."""
    height, width = read_size(path)
    smaller = min(height, size_hw[0]), min(width, size_hw[1])
    if smaller == (height, width):
        return None
    pixels = decode_frame(path, smaller).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, **(PNG if path.lower().endswith(".png") else JPEG))
    return file.getvalue()
