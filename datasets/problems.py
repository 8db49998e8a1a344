"""Faults of a data set: the table of all checks, and what becomes of a fault when loading and when checking a copy."""

import contextlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from utils.mistake import Mistake

logger = logging.getLogger(__name__)

BLOCKING, WARNING, REMARK = "blocking", "warning", "remark"
LEVELS = (BLOCKING, WARNING, REMARK)
FRAME_FAULTS = ("missing frame", "empty frame", "unreadable frame")  # checks that say a frame cannot be used


class Check(NamedTuple):
    """The level of a check's findings, and what a finding means."""

    level: str
    meaning: str


_MEANINGS = {
    BLOCKING: {
        "missing folder": "the data set cannot be read without it",
        "unreachable folder": "it cannot be listed",
        "unusable entry": "it is not the folder or regular file expected there, nor a link to one",
        "identity folder": "an identity is a folder named by its own number, which holds tracklet folders",
        "tracklet name": "ranking files separate names by spaces, in UTF-8",
        "empty folder": "the loader refuses a tracklet without frames",
        "frame name": "it does not follow the naming scheme of the data set in DATASETS.NAMES",
        "several cameras": "the frames of a tracklet must come from one camera",
        "unknown camera": "the data set has no camera with this number",
        "no readable frame": "training stops when it draws this tracklet",
        "too many bad frames": "training would stop: repair the copy, or raise DATALOADER.MAX_BAD_FRACTION",
        "attribute table": "the loader cannot read it",
        "loader": "the loader refuses the data set with this message",
        "worker": "a decoding process died: memory ran out, or a file crashed the decoder",
        "batches": "the config's batches of P identities with K tracklets each cannot be drawn",
    },
    WARNING: {
        "missing frame": "it is listed but does not exist; the nearest readable frame replaces it",
        "empty frame": "the file has 0 bytes; the nearest readable frame replaces it",
        "unreadable frame": "it cannot be decoded completely; the nearest readable frame replaces it",
        "repeated frame": "two files of a tracklet have the same bytes",
        "frame of two people": "files of two identities have the same bytes",
        "frame of two tracklets": "its name begins with the prefixes of several tracklets of the list",
        "people in train and test": "scores do not show how well the model handles new people",
        "attribute code": "the code is not in the table of codes and is read as unknown",
        "people without attributes": "all their attributes are read as unknown",
        "other view": "the tracklet is on the wrong side of its case",
        "altitude": "an aerial tracklet without exactly one known altitude: its altitude is unknown",
        "query without match": "the gallery has no tracklet that counts as a match under the protocol",
        "query in its gallery": "the gallery has a tracklet of its identity and name: the query may find itself",
        "short tracklet": "it has fewer frames than INPUT.SEQ_LEN: frames repeat in every clip",
        "one tracklet": "this training identity has no second tracklet to match",
        "one view": "this training identity was seen only from the ground, or only from the air",
        "camera only in test": "training has no tracklet of this camera: it gets no camera embedding",
        "loader's remark": "the loader logs this warning",
    },
    REMARK: {
        "missing direction": "this case is left out of evaluation",
        "masked identities": "this copy can be ranked and submitted, but not scored",
        "masked frame name": "outside the naming scheme, as masked copies may be: its camera is unknown",
        "few tracklets": "fewer tracklets than DATALOADER.NUM_INSTANCE: they repeat in a batch",
        "no attribute table": "only visual results are reported for it",
        "published counts": "copies differ; docs/datasets.md says which copy was counted",
    },
}
CHECKS = {check: Check(level, text) for level, texts in _MEANINGS.items() for check, text in texts.items()}


class Fault(Mistake):
    """A fault that makes a data set unusable: a key of ``CHECKS``, and its places; the first is the message."""

    def __init__(self, check: str, *places: str) -> None:
        others = f" ({len(places) - 1} more: python -m tools.dataset check lists them)" if len(places) > 1 else ""
        super().__init__(places[0] + others)
        self.check = check
        self.places = places


class Problems:
    """Takes the faults that a reader finds as loading does: it raises blocking ones, and logs all others."""

    def add(self, check: str, *places: str, summary: str = "") -> None:
        """Report what a check, a key of ``CHECKS``, found at some places; ``summary`` is a sentence about them all."""
        if not places:
            return
        level = CHECKS[check].level
        if level == BLOCKING:
            raise Fault(check, *places)
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        logger.log(logging.INFO if level == REMARK else logging.WARNING, "%s", summary or places[0] + more)

    @contextlib.contextmanager
    def guard(self, check: str = "") -> Iterator[None]:
        """Run a part of the reading; a data check records its errors under ``check`` or their own check."""
        yield

    def of_level(self, level: str) -> dict[str, list[str]]:
        """Return the findings of a level by check, in the order of ``CHECKS``."""
        return {}


LOADING = Problems()


class Findings(Problems):
    """Collects all faults by check, for a data check; what cannot be printed, as in odd file names, is escaped."""

    def __init__(self) -> None:
        self.places: dict[str, list[str]] = defaultdict(list)

    def add(self, check: str, *places: str, summary: str = "") -> None:
        if places:
            self.places[check] += map(printable, places)

    @contextlib.contextmanager
    def guard(self, check: str = "") -> Iterator[None]:
        try:
            yield
        except Fault as fault:
            self.add(fault.check, *fault.places)
        except FileNotFoundError as error:
            self.add(check or "missing folder", str(error))
        except ValueError as error:
            self.add(check or "loader", str(error))
        except OSError as error:
            self.add(check or "unreachable folder", f"{error.filename}: {error.strerror}")

    def of_level(self, level: str) -> dict[str, list[str]]:
        return {check: self.places[check] for check in CHECKS if CHECKS[check].level == level and check in self.places}


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as text that any terminal and UTF-8 file can show; other bytes and characters are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
