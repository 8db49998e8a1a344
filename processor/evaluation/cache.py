"""Keep features beside the results, so that another protocol, mask or ranking computes none again."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from datasets.tracklet import Tracklet
from utils.checkpoint import fitting, read_checkpoint, write_weights
from utils.mistake import Mistake
from utils.processes import Processes

from .features import FeatureSet

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
# The code that features are computed by; after a change of it, kept features are not used.
SOURCES = ("model", "datasets/build.py", "datasets/clips", "processor/evaluation/features.py")


@dataclass(frozen=True)
class FeatureCache:
    """A folder with a file of features for each side of each direction.

    A file names what its features were computed from; if that has changed, or the file is damaged, it is replaced.
    Frames are recognised by their paths, whatever their content, so features are kept only if every frame was read.
    """

    folder: Path  # of the files; created when the first one is written
    origin: Mapping[str, str]  # what features depend on beside the tracklets: a name, and a text that changes with it
    processes: Processes  # process 0 reads and writes

    def fetch(self, name: str, tracklets: Sequence[Tracklet], compute: Callable[[], FeatureSet]) -> FeatureSet:
        """Read the features of tracklets from the file ``name``, or compute and keep them, in all processes."""
        path = self.folder / f"{name}.safetensors"
        origin = {**self.origin, "tracklets and frames": hash_frames(tracklets)} if self.processes.is_main else {}
        kept = self.processes.run_on_main(lambda: _read(path, origin))
        if kept is not None:
            return FeatureSet(tracklets, kept)
        computed = compute()
        if self.processes.is_main:
            _write(path, origin, computed)
        return computed


def hash_frames(tracklets: Sequence[Tracklet]) -> str:
    """Return a hash of the tracklets' keys, cameras and captures and the paths of their frames, in order."""
    parts = ((each.key, str([each.camid, *each.capture]), *each.frame_paths) for each in tracklets)
    return _hash_lines(line for lines in parts for line in lines)


def hash_weights(model: nn.Module) -> str:
    """Return a hash of all parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_code() -> str:
    """Return a hash of the code that features are computed by."""
    paths = [ROOT / source for source in SOURCES]
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    return _hash_lines(f"{file.relative_to(ROOT)}\n{file.read_text(encoding='utf-8')}" for file in files)


def _hash_lines(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape"))
        digest.update(b"\0")
    return digest.hexdigest()


def _read(path: Path, origin: Mapping[str, str]) -> Tensor | None:
    """Read the features of all tracklets, (n, D); None, and a line in the log, if they do not serve."""
    if not path.is_file():
        return None
    try:
        content = read_checkpoint(path)
        with fitting(path):
            kept, features = dict(content["origin"]), content["model"]["features"]
            if changed := [name for name, value in origin.items() if kept.get(name) != value]:
                logger.info("%s is of other %s: the features are computed again.", path, ", ".join(changed))
                return None
    except Mistake as error:
        logger.warning("Kept features are not used: %s", error)
        return None
    logger.info("%d features were read from %s and not computed.", len(features), path)
    return features


def _write(path: Path, origin: Mapping[str, str], computed: FeatureSet) -> None:
    """Keep features of which every frame was read; a disk that is full costs the file, not the evaluation."""
    if num_unreadable := computed.num_unreadable:
        logger.warning("Features are not kept in %s: %d of their frames could not be read.", path, num_unreadable)
        return
    try:
        write_weights({"features": computed.features}, {"origin": dict(origin)}, path)
    except Mistake as error:
        logger.warning("Features are not kept for the next evaluation (TEST.KEEP_FEATURES): %s", error)
