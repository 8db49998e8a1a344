"""What the keys and values of published X-TFCLIP and TF-CLIP configs mean here.

A YAML file counts as published if it holds at least one key that only the published code has (``TEST.EVAL``,
``SOLVER.STAGE1.*``) and none that only this project has (``MODEL.POOLING``, ``TEST.FLIP``). Loading it does what the
published code did with it: the code ignored some values of its own files and counted splits from 0. A file that holds a
key of this project has been adapted, so its values count as written, as values on the command line always do.

In both kinds of file, keys without meaning here are left out, and keys that have another name or form here are carried
over. One message lists all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .keys import DEFAULTS, convert, convert_to

# Keys of this project that the published configs hold too, under the same name. All other keys are this project's own.
SHARED_KEYS = frozenset(
    {
        "DATALOADER.NUM_INSTANCE",
        "DATALOADER.NUM_WORKERS",
        "DATASETS.EVAL_CASE",
        "DATASETS.NAMES",
        "DATASETS.ROOT_DIR",
        "DATASETS.SPLIT",
        "INPUT.PIXEL_MEAN",
        "INPUT.PIXEL_STD",
        "INPUT.PROB",
        "INPUT.RE_PROB",
        "INPUT.SEQ_LEN",
        "INPUT.SIZE_TEST",
        "INPUT.SIZE_TRAIN",
        "MODEL.DEVICE",
        "MODEL.I2T_LOSS_WEIGHT",
        "MODEL.ID_LOSS_WEIGHT",
        "MODEL.NAME",
        "MODEL.PRETRAIN_PATH",
        "MODEL.SIE_CAMERA",
        "MODEL.SIE_COE",
        "MODEL.STRIDE_SIZE",
        "MODEL.TRIPLET_LOSS_WEIGHT",
        "OUTPUT_DIR",
        "SOLVER.MARGIN",
        "SOLVER.SEED",
        "SOLVER.STAGE2.BASE_LR",
        "SOLVER.STAGE2.BIAS_LR_FACTOR",
        "SOLVER.STAGE2.EVAL_PERIOD",
        "SOLVER.STAGE2.GAMMA",
        "SOLVER.STAGE2.IMS_PER_BATCH",
        "SOLVER.STAGE2.LOG_PERIOD",
        "SOLVER.STAGE2.MAX_EPOCHS",
        "SOLVER.STAGE2.OPTIMIZER_NAME",
        "SOLVER.STAGE2.STEPS",
        "SOLVER.STAGE2.WARMUP_FACTOR",
        "SOLVER.STAGE2.WARMUP_ITERS",
        "SOLVER.STAGE2.WEIGHT_DECAY",
        "SOLVER.STAGE2.WEIGHT_DECAY_BIAS",
        "TEST.FEAT_NORM",
        "TEST.IMS_PER_BATCH",
        "TEST.NECK_FEAT",
        "TEST.RE_RANKING",
        "TEST.WEIGHT",
    }
)
# Published keys that nothing reads here (nor, for the most part, there), those of related projects included.
WITHOUT_MEANING = frozenset(
    {
        "DATALOADER.NUM_INSTANCE_LIST",
        "DATASETS.SEQ_SRD",
        "DATASETS.SUBSET",
        "DATASETS.SUBSUBSET",
        "INPUT.DENSE_LEN",
        "INPUT.PADDING",
        "INPUT.SAMPLE_STRIDE",
        "INPUT.SAMPLING",
        "INPUT.SEQ_SRD",
        "INPUT.TEST_FRAMES",
        "MODEL.ATT_DROP_RATE",
        "MODEL.COS_LAYER",
        "MODEL.DEVICE_ID",
        "MODEL.DIST_TRAIN",
        "MODEL.DIVIDE_LENGTH",
        "MODEL.DROP_OUT",
        "MODEL.DROP_PATH",
        "MODEL.ID_LOSS_TYPE",
        "MODEL.IF_WITH_CENTER",
        "MODEL.JPM",
        "MODEL.LAST_STRIDE",
        "MODEL.NECK",
        "MODEL.NO_MARGIN",
        "MODEL.PRETRAIN_CHOICE",
        "MODEL.PROMPT",
        "MODEL.RE_ARRANGE",
        "MODEL.SHIFT_NUM",
        "MODEL.SHUFFLE_GROUP",
        "MODEL.SIE_VIEW",
        "MODEL.TRANSFORMER_TYPE",
        "SOLVER.STAGE2.BASE_LR_VISUAL",
        "SOLVER.STAGE2.CENTER_LOSS_WEIGHT",
        "SOLVER.STAGE2.CENTER_LR",
        "SOLVER.STAGE2.CHECKPOINT_PERIOD",
        "SOLVER.STAGE2.CLUSTER_MARGIN",
        "SOLVER.STAGE2.COSINE_MARGIN",
        "SOLVER.STAGE2.COSINE_SCALE",
        "SOLVER.STAGE2.IMS_PER_BATCH_LIST",
        # It multiplied the learning rate of modules named "SAT" and "prompts_generator"; neither network has one.
        "SOLVER.STAGE2.LARGE_Prompt_LR",
        "SOLVER.STAGE2.LR_LAYER_DECAY",
        "SOLVER.STAGE2.LR_LAYER_DECAY_MAX_LAYER",
        "SOLVER.STAGE2.LR_LAYER_DECAY_RATE",
        "SOLVER.STAGE2.LR_MIN",
        "SOLVER.STAGE2.MOMENTUM",
        "SOLVER.STAGE2.RANGE_ALPHA",
        "SOLVER.STAGE2.RANGE_BETA",
        "SOLVER.STAGE2.RANGE_K",
        "SOLVER.STAGE2.RANGE_LOSS_WEIGHT",
        "SOLVER.STAGE2.RANGE_MARGIN",
        "SOLVER.STAGE2.RES_STEPS",
        "SOLVER.STAGE2.TRP_L2",
        "SOLVER.STAGE2.WARMUP_EPOCHS",
        "SOLVER.STAGE2.WARMUP_LR_INIT",
        "TEST.DIST_MAT",
        "TEST.EVAL",
        "TEST.METRIC",
    }
)
# Prompt learning of CLIP-ReID, which has no counterpart here: the whole section means nothing.
SECTION_WITHOUT_MEANING = "SOLVER.STAGE1."
# Published keys for which this project has one value only; a file with another value is told so.
ONLY_VALUES = {
    "DATALOADER.SAMPLER": "softmax_triplet",
    "MODEL.IF_LABELSMOOTH": "on",
    "MODEL.METRIC_LOSS_TYPE": "triplet",
    "SOLVER.STAGE2.WARMUP_METHOD": "linear",
}
# True multiplied the learning rate of the temporal classifier by 10 (METHOD section 7).
LARGE_FC_LR = "SOLVER.STAGE2.LARGE_FC_LR"
FC_LR_FACTOR = "SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR"
FC_LR_FACTORS = {True: 10.0, False: 1.0}
DATASET_NAMES = {"agreidvid": "agvpreid", "ilidsvidsequence": "ilidsvid"}
# Values that the published code ignored in favour of constants, which are the defaults here. METHOD section 9 names
# normalisation and evaluation batch; the probabilities of flipping and erasing were not handed to the transforms.
IGNORED_VALUES = ("INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD", "INPUT.PROB", "INPUT.RE_PROB", "TEST.IMS_PER_BATCH")
# Names in the published defaults that stand for something this project does not have.
PLACEHOLDER_MODEL = "resnet50"
PLACEHOLDER_DATASET = "market1501"
OPTIMIZER = "SOLVER.STAGE2.OPTIMIZER_NAME"
OPTIMIZERS = ("Adam", "AdamW")
# Published defaults that differ from those here and change results; a published file without the key relied on them.
DIFFERING_DEFAULTS = {
    "MODEL.ID_LOSS_WEIGHT": 1.0,
    "MODEL.SIE_CAMERA": False,
    "MODEL.SIE_COE": 3.0,
    "INPUT.SIZE_TRAIN": (384, 128),
    "INPUT.SEQ_LEN": 4,
    "DATALOADER.NUM_INSTANCE": 4,
    "SOLVER.STAGE2.IMS_PER_BATCH": 64,
    "SOLVER.STAGE2.BASE_LR": 3e-4,
    "SOLVER.STAGE2.BIAS_LR_FACTOR": 1.0,
    "SOLVER.STAGE2.WEIGHT_DECAY": 5e-4,
    "SOLVER.STAGE2.WEIGHT_DECAY_BIAS": 5e-4,
    "SOLVER.STAGE2.MAX_EPOCHS": 100,
    "SOLVER.STAGE2.STEPS": (40, 70),
    "SOLVER.STAGE2.WARMUP_FACTOR": 0.01,
    "SOLVER.STAGE2.WARMUP_ITERS": 500,
    FC_LR_FACTOR: 1.0,  # LARGE_FC_LR False
    "TEST.NECK_FEAT": "after",
}
# Switches between TF-CLIP and X-TFCLIP. Both published files lack them, since each code base is one of the two.
SWITCHES = (
    "MODEL.POSITION_RESIZE",
    "MODEL.POOLING",
    "MODEL.FRAME_EMBEDDING",
    "MODEL.MEMORY_WEIGHTING",
    "MODEL.FEATURE_NECK",
    "LOSS.LABEL_SMOOTHING",
    "SOLVER.STAGE2.GRADIENT_CENTRALIZATION",
    "TEST.FLIP",
    "TEST.MASK_ATTRIBUTES",
)


@dataclass
class Translation:
    """Values of a YAML file under the keys of this project, and what is to be said about them."""

    values: dict[str, Any] = field(default_factory=dict)
    without_meaning: list[str] = field(default_factory=list)
    carried_over: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    unavailable: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    is_published: bool = False

    def message(self) -> str:
        """Return one sentence for each kind of remark, each on a line of its own; '' if there is none."""
        parts = []
        if self.without_meaning:
            parts.append(f"Keys that mean nothing here are left out: {', '.join(self.without_meaning)}.")
        if self.carried_over:
            parts.append(f"Carried over: {'; '.join(self.carried_over)}.")
        if self.ignored:
            parts.append(
                f"The published code ignored these values, so they are ignored here: {'; '.join(self.ignored)}. "
                "To use a value, put it on the command line or into a YAML without published keys."
            )
        if self.unavailable:
            parts.append(f"Not available: {'; '.join(self.unavailable)}.")
        if self.missing:
            parts.append(
                "Keys that are not in the file keep the defaults of this project. "
                f"The published defaults differ: {'; '.join(self.missing)}."
            )
        if self.is_published:
            parts.append(
                f"Published files do not hold {', '.join(SWITCHES)}: these stay as in X-TFCLIP. "
                "For TF-CLIP use configs/tfclip_vit_b16_256x128.yml."
            )
        return "\n  ".join(parts)


def is_published_key(key: str) -> bool:
    """Return whether only the published code has this key."""
    return key in WITHOUT_MEANING or key in ONLY_VALUES or key == LARGE_FC_LR or key.startswith(SECTION_WITHOUT_MEANING)


def explain_published_key(key: str) -> str:
    """Say what a key that only the published code has is here, as the end of a sentence."""
    if key == LARGE_FC_LR:
        return f"is a key of the published code; use {FC_LR_FACTOR} instead, 10 for True and 1 for False"
    if key in ONLY_VALUES:
        return f"is a key of the published code; here it is always {ONLY_VALUES[key]}"
    return "is a key of the published code that means nothing here"


def translate(written: Mapping[str, Any], source: str) -> Translation:
    """Translate the dotted keys and values of a YAML file; keys that nobody knows stay as they are.

    Args:
        written: Dotted keys and values as the file holds them.
        source: Name of the file in messages.
    Raises:
        TypeError: If a value has the wrong type.
    """
    own = any(key in DEFAULTS and key not in SHARED_KEYS for key in written)
    result = Translation(is_published=not own and any(is_published_key(key) for key in written))
    for key, value in written.items():
        if key == LARGE_FC_LR:
            _carry_fc_rate(result, written, source)
        elif key in ONLY_VALUES:
            word = _as_word(value)
            if word.lower() != ONLY_VALUES[key].lower():
                result.unavailable.append(f"{key} {word} (it is always {ONLY_VALUES[key]})")
        elif is_published_key(key):
            result.without_meaning.append(key)
        else:
            result.values[key] = value
    _carry_dataset_name(result, written, source)
    if result.is_published:
        _follow_published_code(result, source)
    return result


def _as_word(value: Any) -> str:
    """Return a value as text; YAML makes booleans of the unquoted words 'on' and 'off'."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _carry_fc_rate(result: Translation, written: Mapping[str, Any], source: str) -> None:
    """Turn the switch for a larger rate of the temporal classifier into its factor; the factor itself wins."""
    switch = convert_to(False, LARGE_FC_LR, written[LARGE_FC_LR], source)
    if FC_LR_FACTOR not in written:
        result.values[FC_LR_FACTOR] = FC_LR_FACTORS[switch]
        result.carried_over.append(f"{LARGE_FC_LR} {switch} as {FC_LR_FACTOR} {FC_LR_FACTORS[switch]:g}")


def _carry_dataset_name(result: Translation, written: Mapping[str, Any], source: str) -> None:
    """Replace the published name of a data set; for iLIDS-VID also choose the half that trains in TF-CLIP."""
    if "DATASETS.NAMES" not in written:
        return
    name = convert("DATASETS.NAMES", written["DATASETS.NAMES"], source)
    if name in DATASET_NAMES:
        result.values["DATASETS.NAMES"] = DATASET_NAMES[name]
        result.carried_over.append(f"DATASETS.NAMES {name} as {DATASET_NAMES[name]}")
    if name == "ilidsvidsequence" and "DATASETS.TRAIN_HALF" not in written:
        result.values["DATASETS.TRAIN_HALF"] = "first"
        result.carried_over.append("training people as DATASETS.TRAIN_HALF first")


def _follow_published_code(result: Translation, source: str) -> None:
    """Do with the values of a published file what the published code did with them."""
    values = result.values
    for key in IGNORED_VALUES:
        if key in values:
            value = convert(key, values.pop(key), source)
            if value != DEFAULTS[key]:
                result.ignored.append(f"{key} {value} (used: {DEFAULTS[key]})")
    if "INPUT.SIZE_TRAIN" in values or "INPUT.SIZE_TEST" in values:
        train = convert("INPUT.SIZE_TRAIN", values.get("INPUT.SIZE_TRAIN", DEFAULTS["INPUT.SIZE_TRAIN"]), source)
        test = convert("INPUT.SIZE_TEST", values.get("INPUT.SIZE_TEST", train), source)
        values["INPUT.SIZE_TEST"] = train
        if test != train:
            result.ignored.append(f"INPUT.SIZE_TEST {test} (used: INPUT.SIZE_TRAIN {train})")
    if "DATASETS.SPLIT" in values:
        split = convert("DATASETS.SPLIT", values["DATASETS.SPLIT"], source)
        values["DATASETS.SPLIT"] = split + 1
        result.carried_over.append(f"DATASETS.SPLIT {split}, counted from 0, as {split + 1}, counted from 1")
    if OPTIMIZER in values:
        name = convert(OPTIMIZER, values[OPTIMIZER], source)
        if name not in OPTIMIZERS:
            values[OPTIMIZER] = DEFAULTS[OPTIMIZER]
            result.unavailable.append(f"{OPTIMIZER} {name} (it is replaced by {DEFAULTS[OPTIMIZER]})")
    for key, published in DIFFERING_DEFAULTS.items():
        if key not in values:
            result.missing.append(f"{key} {published} (here: {DEFAULTS[key]})")
    if values.get("MODEL.NAME") == PLACEHOLDER_MODEL:
        values["MODEL.NAME"] = DEFAULTS["MODEL.NAME"]
        result.unavailable.append(f"MODEL.NAME {PLACEHOLDER_MODEL} (it is replaced by {DEFAULTS['MODEL.NAME']})")
    if values.get("DATASETS.NAMES") == PLACEHOLDER_DATASET:
        result.unavailable.append(f"DATASETS.NAMES {PLACEHOLDER_DATASET} (choose a data set before training)")
