"""Settings of a data set beyond its folder. Every data set takes all of them and uses those that apply to it."""

from dataclasses import dataclass

from utils.metrics import CROSS_CAMERA
from utils.mistake import Mistake

HALVES = ("second", "first")


@dataclass(frozen=True)
class DatasetOptions:
    """Choices that data sets offer.

    Attributes:
        protocol: Name of the protocol that scores, of ``utils.metrics.PROTOCOLS``; '' for the data set's own.
        split: Number of the division into training and test people, from 1 (iLIDS-VID).
        train_half: Half of such a division that trains, 'first' or 'second' (iLIDS-VID).
        aerial_camera: Number of the aerial camera; 0 to infer it (G2A-VReID).
        identities_masked: Whether the test people are numbered separately on each side, where the
            names of a copy do not show it.
        index_dir: Folder for frame indices (``datasets.readers.manifest``); '' for the user's cache folder
            (AG-VPReID, DetReIDX).
        table: Table of the tracklets, relative to the root (``own_data.OwnData``).
    """

    protocol: str = ""
    split: int = 1
    train_half: str = "second"
    aerial_camera: int = 0
    identities_masked: bool = False
    index_dir: str = ""
    table: str = "tracklets.csv"

    def __post_init__(self) -> None:
        if self.train_half not in HALVES:
            raise Mistake(f"train_half must be one of {', '.join(HALVES)}, got {self.train_half!r}.")

    def choose_protocol(self, own: str = CROSS_CAMERA.name) -> str:
        """Return the chosen protocol, or ``own``, the data set's own, if none was chosen."""
        return self.protocol or own


DEFAULT_OPTIONS = DatasetOptions()
