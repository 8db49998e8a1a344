"""Open a trained run: its model, cameras and configuration."""

import datetime
import logging
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from configs import Role, changed_keys, check_places, describe_differences, get_cfg, parse_camera_map, values_of
from configs.load import (
    BEST_CHECKPOINT,
    CONFIG_FILE,
    LAST_CHECKPOINT,
    config_of_run,
    find_run,
    locate_checkpoint,
    locate_member,
)
from datasets.build import make_dataset, train_cameras
from datasets.tracklet import DataSet
from model import XTFCLIP, make_model
from model.weights import CAMERA_EMBEDDING, CLASSIFIERS, convert_checkpoint, load_weights
from utils.checkpoint import fitting, log_identity, read_checkpoint
from utils.mistake import Mistake
from utils.runtime import Runtime, make_runtime
from utils.text import spelling
from utils.unknown import UNKNOWN

logger = logging.getLogger(__name__)

# What decides on the results of an evaluation; it is written above them.
COUNTED = (Role.NETWORK, Role.CLASSES, Role.FEATURES, Role.RANKING)


@dataclass(frozen=True)
class TrainedRun:
    """A trained model, ready to describe clips."""

    model: XTFCLIP  # on the runtime's device, in evaluation mode
    runtime: Runtime
    # training cameras as annotated, in the order of the model's camera embedding; None if the checkpoint lacks them
    camids: tuple[int, ...] | None
    checkpoint: Path
    chosen: str  # how the checkpoint was chosen, such as "the last, after epoch 80"
    cfg: CfgNode  # to go on with
    training_settings: str = "unknown"  # how those of the checkpoint differ from the recipe
    trained_on: str | None = None  # DATASETS.NAMES of the training; None if the checkpoint does not say
    config_file: str | None = None  # as in ``load_trained``
    camera_words: Sequence[str] = ()  # what the user's table called the training cameras; empty without such a table
    chosen_on: Collection[int | str] = ()  # people of ``trained_on`` whose scores chose the checkpoint

    @property
    def camera_names(self) -> Sequence[str]:
        """What people call the training cameras, in their order; empty if the checkpoint lacks them."""
        return self.camera_words or tuple(map(str, self.camids or ()))

    @property
    def origin(self) -> dict[str, str]:
        """Where results of this run come from, to be written above them."""
        return {
            "checkpoint": f"{self.checkpoint} ({self.chosen})",
            "data": f"{self.cfg.DATASETS.NAMES} in {self.cfg.DATASETS.ROOT_DIR}",
            "model": self.cfg.MODEL.NAME,
            "settings": _compare_with_recipe(self.cfg, COUNTED),
            "training settings": self.training_settings,
            "precision": str(self.runtime.dtype or torch.float32).removeprefix("torch."),
            "code": find_revision(),
            "date": datetime.date.today().isoformat(),
        }

    def read_dataset(self, others: Sequence["TrainedRun"] = ()) -> DataSet:
        """Read the data set to evaluate on; the training split only if the cameras of a run must be counted there."""
        if all(run.camids is not None or not run.model.num_cameras for run in (self, *others)):
            return make_dataset(self.cfg, with_train=False)
        try:
            return make_dataset(self.cfg)
        except (OSError, ValueError) as error:
            dataset = make_dataset(self.cfg, with_train=False)  # raises again if it is not only the training split
            logger.warning("The checkpoint does not name its cameras, and the training split cannot be read: %s", error)
            return dataset

    def cameras_for(self, dataset: DataSet) -> dict[int, int]:
        """Return the index of each camera, by camid, in the model's camera embedding; others count as unknown.

        On another data set than that of the training, only those that TEST.CAMERA_MAP maps are known. If the checkpoint
        does not name its cameras, the training split of ``dataset`` numbers them, if it has as many as the model.
        """
        cfg = self.cfg
        cameras = {camid: i for i, camid in enumerate(self.camids or ())} or train_cameras(dataset.train)
        if not self.model.num_cameras:
            return {}
        if len(cameras) != self.model.num_cameras:
            logger.warning(
                "The checkpoint has %d cameras and the training split %d: every camera counts as unknown.",
                self.model.num_cameras,
                len(cameras),
            )
            cameras = {}
        if mapping := parse_camera_map(cfg.TEST.CAMERA_MAP):
            if strange := sorted(set(mapping.values()) - set(cameras)):
                known = ", ".join(f"{camid} ({word})" for camid, word in zip(cameras, self.camera_words, strict=False))
                known = known or ", ".join(map(str, cameras)) or "not known"
                raise Mistake(f"TEST.CAMERA_MAP names training camera {strange[0]}; those of the model are {known}.")
            return {camid: cameras[trained] for camid, trained in mapping.items()}
        if self.trained_on not in (None, cfg.DATASETS.NAMES):
            logger.warning(
                "The checkpoint was trained on %s, whose cameras are not those of %s: every camera counts as unknown. "
                "TEST.CAMERA_MAP can name the training camera that each resembles.",
                self.trained_on,
                cfg.DATASETS.NAMES,
            )
            return {}
        if self.camera_words and dataset.camera_words:
            indices = {spelling(word): i for i, word in enumerate(self.camera_words)}
            cameras = {camid: indices.get(spelling(word), UNKNOWN) for camid, word in dataset.camera_words.items()}
            if untrained := [dataset.camera_words[camid] for camid, index in cameras.items() if index == UNKNOWN]:
                logger.warning("Cameras that nobody trained on count as unknown: %s.", ", ".join(untrained))
        return cameras


def open_run(opts: Sequence[str]) -> TrainedRun:
    """Open the run that OUTPUT_DIR and TEST.WEIGHT name, with its own configuration and ``opts`` over it."""
    return load_trained(find_run(opts), overrides=opts)


def open_ensemble(trained: TrainedRun) -> list[TrainedRun]:
    """Open the runs of TEST.ENSEMBLE, each with its own configuration; places and cameras are those of ``trained``.

    Mistake: if one was trained on another data set than ``trained``, or on other people of the data set to evaluate.
    """
    cfg, runs = trained.cfg, []
    shared = {"DATASETS.NAMES": cfg.DATASETS.NAMES, "TEST.CAMERA_MAP": cfg.TEST.CAMERA_MAP, "TEST.ENSEMBLE": ()}
    for name in cfg.TEST.ENSEMBLE:
        path = locate_member(name)
        keys = values_of(cfg, Role.PLACE) | shared | {"OUTPUT_DIR": path.parent, "TEST.WEIGHT": path}
        run = open_run([str(word) for pair in keys.items() for word in pair])
        if run.trained_on != trained.trained_on and run.trained_on and trained.trained_on:
            sets = f"{run.trained_on}, and {trained.checkpoint} on {trained.trained_on}"
            raise Mistake(f"TEST.ENSEMBLE: {path} was trained on {sets}: join runs of one data set.")
        if run.trained_on == cfg.DATASETS.NAMES:
            for key, (own, other) in changed_keys(cfg, run.cfg, Role.CLASSES).items():
                matters = "VALIDATION" not in key or cfg.DATASETS.EVAL_SPLIT == "validation"
                if key.startswith("DATASETS.") and matters:
                    raise Mistake(f"TEST.ENSEMBLE: {path} was trained on other people: {key} is {other}, here {own}.")
        runs.append(run)
    return runs


def load_trained(cfg: CfgNode, overrides: Sequence[str] | None = None, config_file: str | None = None) -> TrainedRun:
    """Open the checkpoint that ``locate_checkpoint`` finds.

    With ``overrides``, KEY VALUE pairs, ``choose_config`` replaces ``cfg``; with None, it is used as it is. Messages
    name ``config_file``, which ``cfg`` is from, in commands.
    """
    path = locate_checkpoint(cfg)
    content = read_checkpoint(path)
    log_identity(path)
    trained_on, training_settings = None, "unknown"
    with fitting(path):
        camids = tuple(map(int, content["camids"])) if "camids" in content else None
        words = tuple(map(str, content.get("camera_words", ())))
        choosers = {each if isinstance(each, int) else str(each) for each in content.get("chosen_on", ())}
        chosen = _describe_choice(content, path)
        if overrides is not None:
            cfg = choose_config(cfg, content, path, overrides)
        if "config" in content:
            trained_cfg = get_cfg(config_text=content["config"], source=f"config in {path}")
            trained_on = trained_cfg.DATASETS.NAMES
            training_settings = _compare_with_recipe(trained_cfg, (Role.TRAINING, Role.BATCHES))
            for key, (before, now) in changed_keys(trained_cfg, cfg, Role.NETWORK).items():
                if key.startswith("MODEL."):
                    message = "%s is %s here, but the checkpoint was trained with %s: such a network was never trained."
                    logger.warning(message, key, now, before)
            for key, (before, now) in changed_keys(trained_cfg, cfg, Role.CLASSES).items():
                if cfg.DATASETS.EVAL_SPLIT == "validation" and "VALIDATION" in key:
                    message = "%s is %s here, but was %r in training: people who are scored may have been trained on."
                    logger.warning(message, key, now, before)
    if cfg.TEST.AVERAGED_WEIGHTS:
        if "averaged" not in content:
            raise Mistake(f"{path} holds no averaged weights (SOLVER.STAGE2.EMA_DECAY): drop TEST.AVERAGED_WEIGHTS.")
        content["model"] = content["averaged"]
    runtime = make_runtime(cfg.MODEL.DEVICE, cfg.SOLVER.PRECISION)
    model = _build_model(cfg, content, path).to(runtime.device).eval()
    known = (training_settings, trained_on, config_file, words, choosers)
    return TrainedRun(model, runtime, camids, path, chosen, cfg, *known)


def choose_config(cfg: CfgNode, content: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> CfgNode:
    """Return the configuration of a checkpoint with ``overrides``, KEY VALUE pairs, over it; the log says whose it is.

    It is that in the checkpoint; of weights without one, ``cfg``, which begins with ``config_of_run``. An edited
    config.yml beside the checkpoint has no effect, and its edited keys are named.
    """
    file = config_of_run(overrides)
    if "config" not in content:
        source = file or "the winner's recipe"
        logger.warning("%s holds no configuration, so that of %s is used: name its own by --config_file.", path, source)
        check_places(cfg, "evaluation", overrides)
        return cfg
    with fitting(path):
        if not isinstance(content["config"], str):
            raise TypeError("its configuration is no text")
        own = get_cfg(opts=overrides, config_text=content["config"], source=f"config in {path}")
    check_places(own, "evaluation", overrides)
    logger.info("The configuration is that in %s, with what the command line changes", path)
    if file == path.with_name(CONFIG_FILE) and (edited := changed_keys(own, cfg, *Role)):
        keys = ", ".join(f"{key} {value} ({before} in the checkpoint)" for key, (before, value) in edited.items())
        logger.warning("%s differs, without effect: %s. To change a key, add it to the command.", file, keys)
    return own


def _compare_with_recipe(cfg: CfgNode, roles: Sequence[Role]) -> str:
    differences = describe_differences(cfg, *roles)
    return f"those of the recipe but for {differences}" if differences != "none" else "those of the recipe"


def _describe_choice(content: Mapping[str, Any], path: Path) -> str:
    """Say after which epoch a checkpoint was saved, and why it is evaluated."""
    if "epoch" not in content:
        return "named by --weight"
    when = f"after epoch {content['epoch']}" + (f" and {content['step']} steps" if content.get("step") else "")
    if path.name == BEST_CHECKPOINT and "best" in content:
        chooser = "their moving average" if "averaged" in content else "the weights"
        return f"the best by validation, {when}: {content['best']:.2%} mAP of {chooser}"
    return f"the last, {when}" if path.name == LAST_CHECKPOINT else f"named by --weight, {when}"


def _build_model(cfg: CfgNode, content: dict[str, Any], path: Path) -> XTFCLIP:
    """Build the network with as many classes and cameras as the checkpoint has, whatever the data set has."""
    with fitting(path):
        state = convert_checkpoint(content)
    num_classes, num_cameras = (
        max(len(state[name]), 1) if name in state and state[name].dim() else 1
        for name in (CLASSIFIERS[0], CAMERA_EMBEDDING)
    )
    if content.get("camids") == []:  # trained on data without camera labels
        num_cameras = 0
    model = make_model(cfg, num_classes, num_cameras, pretrained=False)
    load_weights(model, path, content)
    return model


def find_revision() -> str:
    """Return the abbreviated commit of this checkout, with '-dirty' after changes; 'unknown' without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
