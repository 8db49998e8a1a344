"""What a config can say about a data set beyond its folder; every dataset takes all of it and uses what it knows."""

from dataclasses import dataclass

from utils.metrics import CROSS_CAMERA

HALVES = ("second", "first")


@dataclass(frozen=True)
class DatasetOptions:
    """Choices that a dataset offers.

    Attributes:
        protocol: Name of the protocol to score by, of ``utils.metrics.PROTOCOLS``; '' for the dataset's own.
        split: Which division into training and test people, from 1, where there are several.
        train_half: Which half of such a division trains, 'first' or 'second'.
        aerial_camera: Number of the aerial camera where the data do not say; 0 to infer it.
        identities_masked: Whether the test people are numbered anew on each side, beyond what the dataset can tell.
        index_dir: Where lists of frames are kept (``datasets.storage.frame_index``); '' for the user's cache folder.
    """

    protocol: str = ""
    split: int = 1
    train_half: str = "second"
    aerial_camera: int = 0
    identities_masked: bool = False
    index_dir: str = ""

    def __post_init__(self) -> None:
        if self.train_half not in HALVES:
            raise ValueError(f"train_half must be one of {', '.join(HALVES)}, got {self.train_half!r}.")

    def choose_protocol(self, own: str = CROSS_CAMERA.name) -> str:
        """The protocol to score by, given the dataset's own."""
        return self.protocol or own


DEFAULT_OPTIONS = DatasetOptions()
