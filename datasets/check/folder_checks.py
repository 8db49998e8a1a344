"""Checks of folders: splits, identities and tracklets, before any frame is read.

This covers the data sets laid out as ``{split}/{identity}/{tracklet}/{frame}`` (``benchmarks.case_folders``).
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..attributes import AttributeScheme
from ..readers.case_folders import FolderLayout
from ..readers.listing import TrackletFolder, scan_split
from .attribute_checks import check_table
from .findings import Report
from .tracklet_checks import FolderJob


def walk_folders(
    layout: FolderLayout, scheme: AttributeScheme | None, root: Path, identities_masked: bool, report: Report
) -> Iterator[FolderJob]:
    """Yield the tracklet folders of a copy, and report everything that is wrong above them.

    Args:
        layout: Layout of the data set.
        scheme: Its attributes; None if it has none.
        root: The copy.
        identities_masked: Whether the config says so (DATASETS.IDENTITIES_MASKED), whatever the names say.
        report: Receives the findings.
    """
    if not root.is_dir():
        report.add("missing folder", str(root))
        return
    cases = _find_cases(layout, root, report)
    folders_of = _find_tracklets([split for split in layout.splits() if _is_wanted(split, cases)], root, report)
    masked_cases = _find_masked_cases(layout, cases, folders_of, identities_masked, report)
    for split, folders in folders_of.items():
        if layout.table_folder and scheme is not None:
            check_table(layout.attribute_table(root, split), split, {folder.pid for folder in folders}, scheme, report)
        for folder in folders:
            masked = _case_of(split) in masked_cases
            yield FolderJob(split, folder, layout.parse_sighting, layout.splits()[split], masked)


def _case_of(split: str) -> str:
    return split.split("/")[0]


def _is_wanted(split: str, cases: Iterable[str]) -> bool:
    return split == "train" or _case_of(split) in cases


def _find_cases(layout: FolderLayout, root: Path, report: Report) -> list[str]:
    """Return the names of the cases that the copy holds, sorted; at least one is needed."""
    names = sorted({case.folder for case in layout.cases.values()})
    present = [name for name in names if (root / name).is_dir()]
    for name in names:
        if name in present:
            continue
        if os.path.lexists(root / name):
            report.add("unusable entry", f"{root / name} is not a folder, nor a link to one.")
        else:
            report.add("missing direction" if present else "missing folder", str(root / name))
    return present


def _find_tracklets(splits: Iterable[str], root: Path, report: Report) -> dict[str, list[TrackletFolder]]:
    """Return the tracklet folders of each split that can be listed."""
    folders_of = {}
    for split in splits:
        if not (root / split).is_dir():
            report.add("missing folder", str(root / split))
            continue
        try:
            listing = scan_split(root / split)
        except OSError as error:
            report.add("unreachable folder", f"{error.filename or root / split}: {error.strerror}")
        else:
            folders_of[split] = listing.tracklets
            for problem in listing.problems:
                report.add(problem.kind, problem.text)
            report.add("stray file", *(entry.path for entry in listing.ignored_files))
    return folders_of


def _find_masked_cases(
    layout: FolderLayout,
    cases: Iterable[str],
    folders_of: dict[str, list[TrackletFolder]],
    identities_masked: bool,
    report: Report,
) -> set[str]:
    """Report cases with masked identities; return those in which the loader accepts any frame name."""
    masked_cases = set()
    for case in cases:
        names: dict[str, list[str]] = {}
        for split, view in layout.splits().items():
            if view is not None and _case_of(split) == case:
                names[view] = [folder.name for folder in folders_of.get(split, ())]
        recognised = all(names.values()) and layout.are_masked(names)
        if recognised:
            masked_cases.add(case)
        if recognised or identities_masked:
            report.add("masked identities", case)
    return masked_cases
