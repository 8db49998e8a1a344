"""Data sets and loaders: tracklets on disk become records, and records become batches of clips."""

from .benchmarks.dataset_options import DatasetOptions
from .build import (
    DATASETS,
    make_dataset,
    make_memory_loader,
    make_test_loader,
    make_train_loader,
    train_cameras,
)
from .tracklet import Benchmark, Case, Tracklet, label_map

__all__ = [
    "DATASETS",
    "Benchmark",
    "Case",
    "DatasetOptions",
    "Tracklet",
    "label_map",
    "make_dataset",
    "make_memory_loader",
    "make_test_loader",
    "make_train_loader",
    "train_cameras",
]
