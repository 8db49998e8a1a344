"""Translate configs of published X-TFCLIP and TF-CLIP, and of older versions of this project.

A YAML file counts as published if it holds at least one key that only the published code has (``TEST.EVAL``,
``SOLVER.STAGE1.*``) and none that only this project has (``MODEL.POOLING``, ``TEST.FLIP``). Loading it does what the
published code did with it: the code ignored some values of its own files and counted splits from 0. A file that holds a
key of this project has been adapted, so its values count as written, as values on the command line always do.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from .defaults import KEYS, PLACE
from .keys import DEFAULTS, convert


def _names(names: dict[str, str]) -> frozenset[str]:
    """Return dotted keys, given the names of each section."""
    return frozenset(f"{section}.{name}" for section, words in names.items() for name in words.split())


# Keys of this project that the published configs hold too, under the same name. All others are this project's own.
SHARED_KEYS = {"OUTPUT_DIR"} | _names(
    {
        "DATALOADER": "NUM_INSTANCE NUM_WORKERS",
        "DATASETS": "EVAL_CASE NAMES ROOT_DIR SPLIT",
        "INPUT": "PIXEL_MEAN PIXEL_STD PROB RE_PROB SEQ_LEN SIZE_TEST SIZE_TRAIN",
        "MODEL": "DEVICE I2T_LOSS_WEIGHT ID_LOSS_WEIGHT NAME PRETRAIN_PATH SIE_CAMERA SIE_COE STRIDE_SIZE "
        "TRIPLET_LOSS_WEIGHT",
        "SOLVER": "MARGIN SEED",
        "SOLVER.STAGE2": "BASE_LR BIAS_LR_FACTOR EVAL_PERIOD GAMMA IMS_PER_BATCH LOG_PERIOD MAX_EPOCHS OPTIMIZER_NAME "
        "STEPS WARMUP_FACTOR WARMUP_ITERS WEIGHT_DECAY WEIGHT_DECAY_BIAS",
        "TEST": "FEAT_NORM IMS_PER_BATCH NECK_FEAT RE_RANKING WEIGHT",
    }
)
# Published keys that nothing reads here (nor, for the most part, there), those of related projects included.
# LARGE_Prompt_LR multiplied the rate of modules named "SAT" and "prompts_generator", which neither network has.
WITHOUT_MEANING = _names(
    {
        "DATALOADER": "NUM_INSTANCE_LIST",
        "DATASETS": "SEQ_SRD SUBSET SUBSUBSET",
        "INPUT": "DENSE_LEN PADDING SAMPLE_STRIDE SAMPLING SEQ_SRD TEST_FRAMES",
        "MODEL": "ATT_DROP_RATE COS_LAYER DEVICE_ID DIST_TRAIN DIVIDE_LENGTH DROP_OUT DROP_PATH ID_LOSS_TYPE "
        "IF_WITH_CENTER JPM LAST_STRIDE NECK NO_MARGIN PRETRAIN_CHOICE PROMPT RE_ARRANGE SHIFT_NUM SHUFFLE_GROUP "
        "SIE_VIEW TRANSFORMER_TYPE",
        "SOLVER.STAGE2": "BASE_LR_VISUAL CENTER_LOSS_WEIGHT CENTER_LR CHECKPOINT_PERIOD CLUSTER_MARGIN COSINE_MARGIN "
        "COSINE_SCALE IMS_PER_BATCH_LIST LARGE_Prompt_LR LR_LAYER_DECAY LR_LAYER_DECAY_MAX_LAYER LR_LAYER_DECAY_RATE "
        "LR_MIN MOMENTUM RANGE_ALPHA RANGE_BETA RANGE_K RANGE_LOSS_WEIGHT RANGE_MARGIN RES_STEPS TRP_L2 WARMUP_EPOCHS "
        "WARMUP_LR_INIT",
        "TEST": "DIST_MAT EVAL METRIC",
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
# True multiplied the learning rate of the temporal classifier by 10 (docs/method.md section 7).
LARGE_FC_LR, FC_LR_FACTOR = "SOLVER.STAGE2.LARGE_FC_LR", "SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR"
PUBLISHED_KEYS = frozenset({*WITHOUT_MEANING, *ONLY_VALUES, LARGE_FC_LR})
DATASET_NAMES = {"agreidvid": "agvpreid", "ilidsvidsequence": "ilidsvid"}
# Values that the published code ignored in favour of constants, which are the defaults here:
# normalisation and evaluation batch, and the probabilities of flipping and erasing.
IGNORED_VALUES = ("INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD", "INPUT.PROB", "INPUT.RE_PROB", "TEST.IMS_PER_BATCH")
# Keys of older versions of this project, with the value that changed nothing, and what there is instead.
RETIRED: dict[str, tuple[Any, str]] = {
    "DATALOADER.CACHE_DIR": ("", "frames are not kept any more; `python -m tools.dataset resize` writes a small copy"),
    "DATALOADER.CACHE_GIB": (None, "it belonged to DATALOADER.CACHE_DIR"),
}
# What training did in versions that did not have the key, for runs that they left.
BEFORE_THE_KEY = {"INPUT.ERASING": "mean"}
# Remarks on a file, each with a list of keys.
LEFT_OUT = "Keys that mean nothing here are left out: {}."
CARRIED_OVER = "Carried over: {}."
UNAVAILABLE = "Not available: {}."
IGNORED = (
    "The published code ignored these values, so they are ignored here: {}. To use a value, put it on the command line "
    "or into a YAML without published keys."
)
MISSING = "Keys that are not in the file keep the defaults of this project; those of the published code may differ: {}."
SWITCHES = "The network is X-TFCLIP's: published files do not say. For TF-CLIP use configs/tfclip_vit_b16_256x128.yml."


def explain_key(key: str) -> str | None:
    """Say what a key of published or older configs is here, as the end of a sentence; None for other keys."""
    if key == LARGE_FC_LR:
        return f"is a key of the published code; use {FC_LR_FACTOR} instead, 10 for True and 1 for False"
    if key in ONLY_VALUES:
        return f"is a key of the published code; here it is always {ONLY_VALUES[key]}"
    if key in WITHOUT_MEANING or key.startswith(SECTION_WITHOUT_MEANING):
        return "is a key of the published code that means nothing here"
    return f"is a key of an older version: {RETIRED[key][1]}" if key in RETIRED else None


def translate(written: Mapping[str, Any], source: str) -> tuple[dict[str, Any], list[str]]:
    """Translate the dotted keys and values of a YAML file, those that nobody knows as they are, with remarks."""
    values: dict[str, Any] = {}
    remarks: dict[str, list[str]] = defaultdict(list)
    for key, value in written.items():
        if key in ONLY_VALUES:
            word = str(value) if not isinstance(value, bool) else "on" if value else "off"  # YAML's unquoted words
            if word.lower() != ONLY_VALUES[key].lower():
                remarks[UNAVAILABLE].append(f"{key} {word} (it is always {ONLY_VALUES[key]})")
        elif key in RETIRED:
            if RETIRED[key][0] not in (None, value):
                remarks[LEFT_OUT].append(f"{key} ({RETIRED[key][1]})")
        elif key == LARGE_FC_LR:
            switch = convert(key, value, source, example=False)
            if FC_LR_FACTOR not in written:
                values[FC_LR_FACTOR] = 10.0 if switch else 1.0
                remarks[CARRIED_OVER].append(f"{key} {switch} as {FC_LR_FACTOR} {values[FC_LR_FACTOR]:g}")
        elif explain_key(key):
            remarks[LEFT_OUT].append(key)
        elif key in DEFAULTS:
            values[key] = convert(key, value, source)
        else:
            values[key] = value
    if (name := values.get("DATASETS.NAMES")) in DATASET_NAMES:
        values["DATASETS.NAMES"] = DATASET_NAMES[name]
        remarks[CARRIED_OVER].append(f"DATASETS.NAMES {name} as {DATASET_NAMES[name]}")
        if name == "ilidsvidsequence" and "DATASETS.TRAIN_HALF" not in written:
            values["DATASETS.TRAIN_HALF"] = "first"
            remarks[CARRIED_OVER].append("training people as DATASETS.TRAIN_HALF first")
    is_own = any(key in DEFAULTS and key not in SHARED_KEYS for key in written)
    if not is_own and any(key in PUBLISHED_KEYS or key.startswith(SECTION_WITHOUT_MEANING) for key in written):
        _follow_published_code(values, remarks)
    return values, [remark.format("; ".join(items)) for remark, items in remarks.items()]


def _follow_published_code(values: dict[str, Any], remarks: dict[str, list[str]]) -> None:
    """Do with the values of a published file what the published code did with them."""
    train = values.get("INPUT.SIZE_TRAIN", DEFAULTS["INPUT.SIZE_TRAIN"])
    used = {"INPUT.SIZE_TEST": train, **{key: DEFAULTS[key] for key in IGNORED_VALUES}}
    for key, value in used.items():
        if values.get(key, value) != value:
            remarks[IGNORED].append(f"{key} {values[key]} (used: {value})")
    values |= used
    if "DATASETS.SPLIT" in values:
        split = values["DATASETS.SPLIT"]
        values["DATASETS.SPLIT"] = split + 1
        remarks[CARRIED_OVER].append(f"DATASETS.SPLIT {split}, counted from 0, as {split + 1}, counted from 1")
    results = [key for key in DEFAULTS if key in {*SHARED_KEYS, FC_LR_FACTOR} and KEYS[key].role != PLACE]
    if missing := [key for key in results if key not in values]:
        remarks[MISSING] = missing
    remarks[SWITCHES] = []
