"""Render people for contrastive pre-training: frames from the ground and the air, and a caption of each person."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from utils.progress import track

from .cameras import make_cameras
from .people import Person
from .rendering import map_in_processes, render_tracklet

# Part of every seed here, so that no data set of ``render_dataset`` holds these people.
SEED_KEY = 20_211_103
VIEWS = ("ground", "aerial")
TRACKLETS_PER_VIEW = 3
FRAMES_PER_TRACKLET = 2
PEOPLE_PER_CAMERA_SET = 100


@dataclass(frozen=True)
class Crowd:
    """Rendered people."""

    frames: Tensor  # (people, views, tracklets, frames, C, H, W), uint8; views in the order of VIEWS
    captions: list[str]  # as of Person, as are the phrases
    phrases: list[dict[str, str]]


def render_person(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, Person]:
    """Render one person; returns frames (views, tracklets, frames, H, W, 3), uint8, and the person."""
    rng = np.random.default_rng([SEED_KEY, seed, index])
    cameras = make_cameras(np.random.default_rng([SEED_KEY, seed, index // PEOPLE_PER_CAMERA_SET, 1]))
    person = Person(rng)
    H, W = size
    frames = np.empty((len(VIEWS), TRACKLETS_PER_VIEW, FRAMES_PER_TRACKLET, H, W, 3), dtype=np.uint8)
    for view, name in enumerate(VIEWS):
        of_view = [camera for camera in cameras if camera.view == name]
        for tracklet in range(TRACKLETS_PER_VIEW):
            camera = of_view[rng.integers(len(of_view))]
            for number, crop in enumerate(render_tracklet(person, camera, FRAMES_PER_TRACKLET, rng)):
                resized = Image.fromarray(crop).resize((W, H), Image.Resampling.BILINEAR)
                frames[view, tracklet, number] = np.asarray(resized)
    return frames, person


def render_crowd(num_people: int, seed: int, size: tuple[int, int], num_workers: int) -> Crowd:
    """Render many people in parallel; the result does not depend on ``num_workers``."""
    render = functools.partial(render_person, seed=seed, size=size)
    rendered = map_in_processes(render, range(num_people), num_workers, chunksize=25)
    people = list(track(rendered, "rendering", "person", num_people))
    frames = torch.from_numpy(np.stack([frames for frames, _ in people])).permute(0, 1, 2, 3, 6, 4, 5).contiguous()
    return Crowd(frames, [person.caption() for _, person in people], [person.phrases() for _, person in people])
