"""What every data set is to the rest of the program: a class that reads a copy, and what is known of the data set."""

import typing

from ..attributes import AttributeScheme
from ..tracklet import Case, Tracklet
from .case_folders import FolderLayout
from .counts import PublishedCounts


class Benchmark(typing.Protocol):
    """A data set that has been read from disk; every class in the registry (``datasets.DATASETS``) is one.

    Attributes:
        scheme: Columns and unknown codes of its annotated attributes; None if it has none. Known of the class, except
            for a user's own data, whose table defines it.
        layout: How its folders are laid out, if the data check can walk them; None if only the loader knows. Known of
            the class.
        published: Published counts, to compare a copy with; empty if there are none. Known of the class.
        train: Training tracklets, in a fixed order; empty without training data.
        cases: The matching directions that the copy holds, by key, in order ('case1', 'case2', ...); at least one.

    Args:
        root: Folder of the copy (DATASETS.ROOT_DIR); its tree is in the docstring of the class.
        with_train: Whether to read the training data. If so, they must exist; if not, ``train`` is empty, and their
            folder, tables and lists are never touched.
        options: Settings beyond the folder, ``datasets.readers.dataset_options.DatasetOptions``; each class uses
            those that apply to it.
    Raises:
        FileNotFoundError: If the root, or a part that is read, is missing.
        ValueError: If the copy is damaged, or does not follow the expected tree.
    """

    scheme: AttributeScheme | None
    layout: FolderLayout | None
    published: PublishedCounts
    train: tuple[Tracklet, ...]
    cases: dict[str, Case]
