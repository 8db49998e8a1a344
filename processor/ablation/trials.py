"""Read a list of variants of a recipe, and train and evaluate each with several seeds, as commands of their own."""

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import yaml
from yacs.config import CfgNode

from configs import describe_differences, get_cfg
from configs.checks import seen_from
from configs.defaults import KEYS, Role
from configs.keys import leaves
from configs.load import KEPT_FEATURES, parse_yaml
from utils.files import lock_folder, write_text
from utils.mistake import MissingFile, Mistake
from utils.progress import track
from utils.text import read_text

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
BASE = "base"
PLAN = "ablation.yml"  # in the output folder: what its runs were made by
AFTER_TRAINING = (Role.FEATURES, Role.RANKING, Role.PLACE)
LOG = "output.log"  # of a trial's commands
OWN_KEYS = ("OUTPUT_DIR", "SOLVER.SEED", "DATASETS.EVAL_CASE")  # which its commands set


@dataclass(frozen=True)
class Variant:
    """One change to the recipe, or none: ``BASE``, the first of a list."""

    name: str
    config: str  # YAML of the recipe
    shared: dict[str, Any]  # config keys of all variants
    changes: dict[str, Any]  # its own

    @property
    def folder_name(self) -> str:
        """Its name without what folders may not be called."""
        return re.sub(r"\W+", "_", self.name)

    @property
    def is_trained(self) -> bool:
        """Whether its weights are its own; else no key of it changes what is trained."""
        keys = [KEYS[key] for key in self.changes]
        return self.name == BASE or any(key.role not in AFTER_TRAINING or key.reader == "training" for key in keys)

    def opts(self, reader: str = "") -> list[str]:
        """Return all keys and values, or those that only the command ``reader`` reads, as words of a command line."""
        keys = {**self.shared, **self.changes}.items()
        return [str(word) for pair in keys if not reader or KEYS[pair[0]].reader == reader for word in pair]


@dataclass(frozen=True)
class Trial:
    """A variant with one seed."""

    variant: Variant
    seed: int
    output: Path  # of all trials

    @property
    def folder(self) -> Path:
        """Where its run is, or only its results if it takes the weights of the base."""
        return self.output / self.variant.folder_name / f"seed-{self.seed}"

    @property
    def base(self) -> "Trial":
        """The base with this seed."""
        return replace(self, variant=replace(self.variant, name=BASE, changes={}))

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def is_done(self) -> bool:
        return (self.results / "results.json").is_file()

    def commands(self) -> list[list[str]]:
        """Return the command lines that make it."""
        opts = [*self.variant.opts(), "SOLVER.SEED", str(self.seed)]
        run = self.folder if self.variant.is_trained else self.base.folder
        train, evaluate = ([sys.executable, str(ROOT / name)] for name in ("train_main.py", "eval_main.py"))
        train += ["--config_file", self.variant.config, "--output_dir", str(run), "--resume", *opts]
        evaluate += ["--output_dir", str(run), "--custom_output_dir", str(self.results), "--eval_case", "all"]
        if self.variant.is_trained:
            return [train, [*evaluate, *self.variant.opts("evaluation")]]
        return [[*evaluate, *opts]]


def read_list(path: Path, opts: Sequence[str]) -> list[Variant]:
    """Read a list of variants, the base first; every one is checked as a configuration."""
    content = parse_yaml(read_text(path), str(path))
    if strange := sorted(map(str, content.keys() - {"config", BASE, "variants"})):
        raise Mistake(f"{path} holds {', '.join(strange)}; a list has config, base and variants.")
    base, own = content.get(BASE) or {}, content.get("variants") or {}
    recipe = content.get("config")
    if not isinstance(recipe, str) or not isinstance(own, dict) or not own:
        raise Mistake(f"{path} must name the recipe's file as config, and at least one of the variants.")
    if not os.path.isfile(recipe):
        raise MissingFile(f"{path}: the recipe {recipe} (config) is not there{seen_from(recipe)}.")
    if not isinstance(base, dict):
        raise Mistake(f"{path}: {BASE} must be a mapping of config keys, got {base!r:.100}.")
    get_cfg(recipe, opts)  # refuses an odd number of words
    shared = {**dict(leaves(base)), **dict(zip(opts[::2], opts[1::2], strict=True))}
    variants = [Variant(BASE, recipe, shared, {})]
    for name, changes in own.items():
        if not isinstance(changes, dict) or not changes or name == BASE:
            raise Mistake(f"{path}: the variant {name!r} must be a mapping of config keys, and not called {BASE}.")
        variant = Variant(str(name), recipe, shared, dict(leaves(changes)))
        if twin := next((other for other in variants if other.folder_name == variant.folder_name), None):
            raise Mistake(f"{path}: {twin.name!r} and {variant.name!r} would share a folder: rename one of them.")
        variants.append(variant)
    first, *others = (_check(variant, path) for variant in variants)
    for variant, cfg in zip(variants[1:], others, strict=True):
        if cfg == first:
            raise Mistake(f"{path}, {variant.name}: it changes nothing: the {BASE} has these values, too.")
    return variants


def _check(variant: Variant, path: Path) -> CfgNode:
    if own := [key for key in OWN_KEYS if key in {**variant.shared, **variant.changes}]:
        raise Mistake(f"{path}, {variant.name}: every run has its own {', '.join(own)}: leave it out.")
    try:
        return get_cfg(variant.config, variant.opts())
    except Mistake as error:
        raise Mistake(f"{path}, {variant.name}: {error}") from error


def run_trials(
    variants: Sequence[Variant], num_seeds: int, output: Path, num_jobs: int = 1, cards: Sequence[str] = ()
) -> list[Trial]:
    """Make all trials that are not done, ``num_jobs`` at a time; returns those that failed, which the log names.

    What takes the weights of the base is left out, and counts as failed, until the base with its seed is done: what a
    training that failed has saved are weights, too.
    """
    output.mkdir(parents=True, exist_ok=True)
    with lock_folder(output):
        _keep_plan(variants, output / PLAN)
        trials = [Trial(variant, seed, output) for seed in range(num_seeds) for variant in variants]
        trials = [trial for trial in trials if not trial.is_done]
        failed = _run_in_parallel([trial for trial in trials if trial.variant.is_trained], num_jobs, cards)
        others = [trial for trial in trials if not trial.variant.is_trained]
        left_out = [trial for trial in others if not trial.base.is_done]
        for trial in left_out:
            logger.error("%s, seed %d: left out: it needs the %s with this seed", trial.variant.name, trial.seed, BASE)
        return failed + left_out + _run_in_parallel([each for each in others if each.base.is_done], num_jobs, cards)


def _keep_plan(variants: Sequence[Variant], path: Path) -> None:
    """Note what the runs of a folder are made by; Mistake: if it holds runs of the same names made otherwise."""
    plan = {each.name: describe_differences(get_cfg(each.config, each.opts())) for each in variants}
    before: Mapping[str, Any] = parse_yaml(read_text(path), str(path)) if path.is_file() else {}
    for name in plan.keys() & before.keys():
        if plan[name] != before[name]:
            text = f"{path.parent} holds runs of {name!r} with other keys, of the list or in the recipe's file ({path})"
            raise Mistake(f"{text}: name another --output.")
    write_text(yaml.safe_dump({**before, **plan}, sort_keys=False), path)


def _run_in_parallel(trials: Sequence[Trial], num_jobs: int, cards: Sequence[str]) -> list[Trial]:
    """Make trials, each by a thread that waits for its commands; returns those that failed."""
    environments: SimpleQueue[dict[str, str]] = SimpleQueue()  # one for each job; those of running jobs are out
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // num_jobs))}
    for job in range(num_jobs):
        card = {"CUDA_VISIBLE_DEVICES": cards[job % len(cards)]} if cards else {}
        environments.put({**threads, **os.environ, **card})
    running: set[subprocess.Popen] = set()
    failed = []
    with ThreadPoolExecutor(num_jobs) as pool:
        futures = {pool.submit(_make, trial, environments, running): trial for trial in trials}
        try:
            for future in track(as_completed(futures), "ablation", "run", total=len(futures)):
                trial, log = futures[future], futures[future].folder / LOG
                status = future.result()
                if status or not trial.is_done:
                    failed.append(trial)
                    last = (read_text(log).strip().splitlines() or [""])[-1]
                    reason = last if status else "it has no scores, as on a copy with masked test identities"
                    logger.error("%s, seed %d: failed (%s): %s", trial.variant.name, trial.seed, log, reason)
                else:
                    logger.info("%s, seed %d: done", trial.variant.name, trial.seed)
        except BaseException:  # a signal: start no others, and ask those that run to stop at a save point
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise
    return failed


def _make(trial: Trial, environments: "SimpleQueue[dict[str, str]]", running: set[subprocess.Popen]) -> int:
    """Run the commands of a trial; returns the status of the first that fails, or 0."""
    trial.folder.mkdir(parents=True, exist_ok=True)
    if not trial.variant.is_trained and (kept := trial.base.results / KEPT_FEATURES).is_dir():
        shutil.copytree(kept, trial.results / KEPT_FEATURES, dirs_exist_ok=True)  # those that serve are not made again
    environment = environments.get()
    logger.info("%s, seed %d: started, its log is %s", trial.variant.name, trial.seed, trial.folder / LOG)
    try:
        with (trial.folder / LOG).open("w", encoding="utf-8") as log:
            for words in trial.commands():
                process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
                running.add(process)
                status = process.wait()
                running.discard(process)
                if status:
                    return status
        return 0
    finally:
        environments.put(environment)
