"""Data sets and loaders: tracklets on disk become records, and records become batches of clips."""

from .build import (
    DATASETS,
    choose_cases,
    make_dataset,
    make_memory_loader,
    make_test_loader,
    make_test_transform,
    make_train_loader,
    make_train_transform,
    open_dataset,
    train_cameras,
    warn_of_equal_clips,
)
from .readers.dataset import DataSet, DatasetOptions
from .tracklet import Case, Tracklet, label_map

__all__ = [
    "DATASETS",
    "Case",
    "DataSet",
    "DatasetOptions",
    "Tracklet",
    "choose_cases",
    "label_map",
    "make_dataset",
    "make_memory_loader",
    "make_test_loader",
    "make_test_transform",
    "make_train_loader",
    "make_train_transform",
    "open_dataset",
    "train_cameras",
    "warn_of_equal_clips",
]
