"""Declare every configuration key: its default, meaning, unit, allowed values and role.

Each key is declared once; checks, warnings and the rules of resuming and comparing follow from its declaration. The
defaults are the recipe of the AG-VPReID 2025 winner (X-TFCLIP, arXiv 2506.22843); the YAML of an experiment holds only
what differs. Keys that exist in the published code keep their published names. 0, '' and False switch an option off, as
published, unless its comment says otherwise.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

Command = Literal["training", "evaluation", "both"]


class Role(Enum):
    """What depends on a key."""

    NETWORK = "what the weights mean: fixed for a run; descriptors of other values cannot be compared"
    CLASSES = "what classifiers, loss and optimiser have learned: fixed for a run, but no descriptor depends on it"
    TRAINING = "the curve of a run; only training reads it"
    BATCHES = "which batches an epoch has: as TRAINING, and fixed until the epoch ends"
    FEATURES = "the descriptors of trained weights"
    RANKING = "which weights and people evaluation takes, and what it makes of descriptors"
    PLACE = "where a command reads, writes and computes, and what it reports: no result"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, but for ``without``; NaN lies in none."""

    low: float
    high: float
    without: float | None = None

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high and number != self.without

    def __str__(self) -> str:
        exception = "" if self.without is None else f" without {self.without:,}"
        return f"between {self.low:,} and {self.high:,}{exception}"


@dataclass(frozen=True)
class Key:
    """A declaration."""

    default: Any  # its type is the key's
    role: Role
    allowed: tuple[str, ...] | Range | None = None  # words to choose from, or where its number or numbers must lie
    parts: tuple[str, ...] = ()  # what the numbers of a tuple are, if there is a fixed number of them
    only: Command | None = None  # that reads it, where its role does not say

    @property
    def reader(self) -> Command:
        """The command that reads it."""
        return self.only or ("training" if self.role in (TRAINING, BATCHES) else "both")


KEYS: dict[str, Key] = {}


def declare(name: str, *declaration: Any, **options: Any) -> None:
    """Declare a key: its default, role and what else ``Key`` holds."""
    KEYS[name] = Key(*declaration, **options)


NETWORK, CLASSES, TRAINING, BATCHES, FEATURES, RANKING, PLACE = Role
FRACTION = Range(0, 1)
AMOUNT = Range(0, 1_000_000)  # a factor of a rate, a decay or a loss term; epochs, minutes, the number of a camera
# No key takes a negative number. Upper bounds of sizes, beyond what anybody trains, catch slips of the finger.

# Folder for the checkpoints, the logs and the frozen config of a run.
declare("OUTPUT_DIR", "logs/xtfclip", PLACE)

# Device: "auto" (CUDA if there is a device, otherwise the CPU, with a warning), "cuda", "cuda:1", "cpu".
declare("MODEL.DEVICE", "auto", PLACE)
# "ViT-B-16" (as published), "ViT-B-32", "ViT-L-14", or timm's name of a CLIP, EVA02-CLIP, PE-core, DINOv3 or SigLIP
# ViT.
declare("MODEL.NAME", "ViT-B-16", NETWORK)
# Dimensions that replace those of the named ViT; 0 keeps the ViT's own. They are for small models such as the demo's.
declare("MODEL.VIT.EMBED_DIM", 0, NETWORK, Range(0, 8192))  # width D
declare("MODEL.VIT.DEPTH", 0, NETWORK, Range(0, 100))  # number of blocks
declare("MODEL.VIT.NUM_HEADS", 0, NETWORK, Range(0, 256))  # attention heads of a block
declare("MODEL.VIT.PATCH_SIZE", 0, NETWORK, Range(0, 224))  # side of a patch, pixels
declare("MODEL.VIT.PROJ_DIM", 0, NETWORK, Range(0, 8192))  # projected width P
# Steps between patches, (vertical, horizontal), pixels. Patches overlap if a step is smaller than the patch.
declare("MODEL.STRIDE_SIZE", (16, 16), NETWORK, Range(1, 224), parts=("vertical", "horizontal"))
# True starts from CLIP weights, False from random ones.
declare("MODEL.PRETRAINED", True, TRAINING)
# Local CLIP weights, OpenAI's archive or a state dict of timm or open_clip; empty lets timm download them.
declare("MODEL.PRETRAIN_PATH", "", PLACE, only="training")
# Checkpoint of another run (ours or a published one) to start from instead of CLIP, also with other people and cameras:
# what depends on their number starts anew, and so do a prompt of LOSS.MEMORY and VIEW_PROMPTS that it lacks. Empty
# starts from CLIP.
declare("MODEL.INIT_WEIGHT", "", TRAINING)
# The first so many blocks, and all of CLIP below them, are not trained.
declare("MODEL.FREEZE_BLOCKS", 0, CLASSES, Range(0, 100), only="training")
# True does not train what lies below CLIP's first block: patches, class token, positions and the first norm.
declare("MODEL.FREEZE_EMBEDDINGS", False, CLASSES, only="training")
# What of the encoder is trained: "full" (as published); "adapter" or "lora": only perceptrons of width 256 beside those
# of its blocks, or changes of rank 16 to queries and values, so that gradients and the optimiser need little memory.
declare("MODEL.TUNING", "full", CLASSES, ("full", "adapter", "lora"))
# Classifiers of f_img and f_tmp: "separate" (as published), or one "shared" by both, which trains at the rates of
# f_img's, so that SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR has no effect.
declare("MODEL.HEADS", "separate", CLASSES, ("separate", "shared"), only="training")
# Learned tokens (VSLA-CLIP: 1 to 4) that the lowest 9 blocks see beside a frame's, by the view, altitude and angle from
# which the data set says the tracklet was taken, in testing, too, as with cameras; 0 (as published) for none.
declare("MODEL.VIEW_PROMPTS", 0, NETWORK, Range(0, 4))
# True keeps only the inputs of blocks and computes the rest again for the same gradients: less memory, more time.
declare("MODEL.GRADIENT_CHECKPOINTING", False, PLACE, only="training")
# True compiles network and losses with torch.compile, which needs a C++ compiler and takes minutes at the start.
declare("MODEL.COMPILE", False, PLACE)
# Weights of the loss terms (docs/method.md section 6: total = 0.25 id + triplet + memory + frame / T).
declare("MODEL.ID_LOSS_WEIGHT", 0.25, TRAINING, AMOUNT)
declare("MODEL.TRIPLET_LOSS_WEIGHT", 1.0, TRAINING, AMOUNT)
declare("MODEL.I2T_LOSS_WEIGHT", 1.0, TRAINING, AMOUNT)  # clip feature against CLIP memory
declare("MODEL.FRAME_LOSS_WEIGHT", 1.0, TRAINING, AMOUNT)  # the term is divided by T as well
# Side information (TransReID): the class token gets an embedding of its training camera, times SIE_COE.
declare("MODEL.SIE_CAMERA", True, NETWORK)
declare("MODEL.SIE_COE", 1.0, NETWORK, AMOUNT)
# What X-TFCLIP adds to TF-CLIP inside the network. TF-CLIP has "bilinear", "mean", False, False, "batch".
declare("MODEL.POSITION_RESIZE", "bicubic", NETWORK, ("bicubic", "bilinear"))  # position embeddings to the patch grid
declare("MODEL.POOLING", "attention", NETWORK, ("attention", "mean"))  # pools frames, tokens and video tokens
declare("MODEL.FRAME_EMBEDDING", True, NETWORK)  # adds one learned embedding per frame of a clip to the class token
declare("MODEL.MEMORY_WEIGHTING", True, NETWORK)  # True: memory is a M + (1 - a) SSP; False: it is M + SSP
declare("MODEL.FEATURE_NECK", "instance", NETWORK, ("instance", "batch"))  # IN-BNNeck or BNNeck
# Dropout inside the sequence-specific prompt, probability.
declare("MODEL.PROMPT_DROPOUT", 0.1, TRAINING, FRACTION)

# "online" (Online Label Smoothing, arXiv 2011.12562) | "uniform" (TF-CLIP).
declare("LOSS.LABEL_SMOOTHING", "online", CLASSES, ("online", "uniform"), only="training")
# Probability that is taken from the true class: with "uniform" in every epoch, with "online" in the first epoch.
declare("LOSS.SMOOTHING", 0.1, TRAINING, FRACTION)
# Share of the hard cross entropy in "online", 0..1; the rest is the soft cross entropy.
declare("LOSS.HARD_WEIGHT", 0.5, TRAINING, FRACTION)
# What f_proj is compared with: "prompt" (as published), CLIP memory with the sequence-specific prompt; "proxies", two
# features of each person, mean and hardest, which follow the network (CLIMB-ReID, SAS-VPReID; loss/proxies.py).
declare("LOSS.MEMORY", "prompt", CLASSES, ("prompt", "proxies"))
# Above 0, classifiers compare by cosines times this (STAR-CVI: 16); 0 (as published) by scalar products.
declare("LOSS.ID_SCALE", 0.0, CLASSES, Range(0, 1000), only="training")

# Size of the frames in training and in testing, (height, width), pixels; each is a multiple of the patch size.
declare("INPUT.SIZE_TRAIN", (288, 144), NETWORK, Range(1, 4096), parts=("height", "width"))
declare("INPUT.SIZE_TEST", (288, 144), FEATURES, Range(1, 4096), parts=("height", "width"))
# Frames in a clip, T.
declare("INPUT.SEQ_LEN", 8, NETWORK, Range(1, 1024))
# Mean and standard deviation of R, G and B, on the 0..1 scale. The published numbers use ImageNet's.
declare("INPUT.PIXEL_MEAN", (0.485, 0.456, 0.406), NETWORK, FRACTION, parts=("R", "G", "B"))
declare("INPUT.PIXEL_STD", (0.229, 0.224, 0.225), NETWORK, Range(0.001, 1), parts=("R", "G", "B"))
# Probability that a training clip is flipped (all its frames together).
declare("INPUT.PROB", 0.5, TRAINING, FRACTION)
# Probability that a rectangle of a training frame is erased.
declare("INPUT.RE_PROB", 0.5, TRAINING, FRACTION)
# "published" fills the rectangle with one random colour, and its place depends on its size; "mean" fills it with the
# mean colour at a random place (docs/differences.md).
declare("INPUT.ERASING", "published", TRAINING, ("published", "mean"))
# Random crop: training frames get a border of mean colour, this many pixels wide, and are cropped to their old size.
declare("INPUT.CROP_PADDING", 0, TRAINING, Range(0, 4095))
# Colour jitter s of training frames: brightness, contrast and saturation are multiplied by 1 - s to 1 + s.
declare("INPUT.COLOR_JITTER", 0.0, TRAINING, FRACTION)
# Of whole clips: largest shift of the hue, a share of the colour wheel (SAS-VPReID: 0.3), in every second clip.
declare("INPUT.HUE_JITTER", 0.0, TRAINING, Range(0, 0.5))
# True shifts, scales, turns and tilts whole clips (STAR-CVI).
declare("INPUT.CHANGE_VIEWS", False, TRAINING)
# Probability that the resolution of a clip is lowered to 32 to 96 pixels of height, as of somebody far away.
declare("INPUT.LOW_RESOLUTION", 0.0, TRAINING, FRACTION)
# True erases, crops and jitters all frames of a clip alike; False (as published) each frame by itself.
declare("INPUT.CONSISTENT_AUGMENTATION", False, TRAINING)

# Data set, one of DATA_SETS; folder is docs/datasets.md, 'Your own data'. Published files may name others.
DATA_SETS = ("agvpreid", "detreidx", "folder", "g2avreid", "ilidsvid", "lsvid", "mars")
declare("DATASETS.NAMES", "agvpreid", CLASSES)
# Folder of the data set.
declare("DATASETS.ROOT_DIR", "data/AG-VPReID", PLACE)
# Table of the tracklets in ROOT_DIR, for NAMES folder; a relative path begins in ROOT_DIR.
declare("DATASETS.TABLE", "tracklets.csv", PLACE)
# Direction that eval_main.py ranks: "case1" (aerial to ground, or the only one), "case2" (ground to aerial), "case3"
# (aerial to aerial) or "all" of the data set.
declare("DATASETS.EVAL_CASE", "case1", PLACE, ("case1", "case2", "case3", "all"), only="evaluation")
# Division into training and test people, for data sets that have several (iLIDS-VID: 1 to 10).
declare("DATASETS.SPLIT", 1, CLASSES, Range(1, 1_000_000))
# Half of the division's list on which to train (iLIDS-VID): "second" (torchreid, VSLA-CLIP) | "first" (TF-CLIP).
declare("DATASETS.TRAIN_HALF", "second", CLASSES, ("second", "first"))
# Number of the aerial camera (G2A-VReID); 0 finds the camera that no query comes from.
declare("DATASETS.AERIAL_CAMERA", 0, RANKING, AMOUNT)
# True says that test people are numbered separately in query and gallery, as in challenges: nothing is then scored.
declare("DATASETS.IDENTITIES_MASKED", False, PLACE)
# Share of the training people, always the same ones, who are held out for validation and choose checkpoint_best.pth.
declare("DATASETS.VALIDATION_FRACTION", 0.0, CLASSES, Range(0, 1, without=1))
# Text file of the people to hold out instead, a pid a line (`python -m tools.dataset split` writes one).
declare("DATASETS.VALIDATION_PIDS", "", CLASSES)
# Folder of another copy whose test people validate, instead of people who are held out.
declare("DATASETS.VALIDATION_DIR", "", PLACE, only="training")
# Whom evaluation ranks: the "test" people, or those held out for "validation".
declare("DATASETS.EVAL_SPLIT", "test", RANKING, ("test", "validation"), only="evaluation")
# Folder for lists of frames (AG-VPReID, DetReIDX); empty means xtfclip/ in $XDG_CACHE_HOME or in ~/.cache.
declare("DATASETS.INDEX_DIR", "", PLACE)

# Tracklets of each identity in a training batch, K of P x K sampling.
declare("DATALOADER.NUM_INSTANCE", 6, BATCHES, Range(1, 65_536))
# True draws as many aerial as ground tracklets among the K >= 2 of an identity that has both; False (as published) any.
declare("DATALOADER.BOTH_VIEWS", False, BATCHES)
# True draws the aerial tracklets of an identity so that altitudes appear evenly; False (as published) at random.
declare("DATALOADER.BALANCE_ALTITUDES", False, BATCHES)
# True fills a batch with people who are alike by CLIP memory; False (as published) draws any.
declare("DATALOADER.HARD_IDENTITIES", False, BATCHES)
# Number of decoding processes; 0 decodes in the main process.
declare("DATALOADER.NUM_WORKERS", 8, PLACE, Range(0, 512))
# Largest share of unreadable frames in an epoch, or in the pass for CLIP memory; more stops training.
declare("DATALOADER.MAX_BAD_FRACTION", 0.01, PLACE, FRACTION)

# Seed of every random choice.
declare("SOLVER.SEED", 1234, BATCHES, Range(0, 2**63 - 1))
# Margin of the batch-hard triplet loss, Euclidean distance.
declare("SOLVER.MARGIN", 0.3, TRAINING, AMOUNT)
# "auto" (fp16 on CUDA as published, bf16 on CPUs with bf16 instructions, otherwise fp32), "fp32", "bf16", "fp16".
declare("SOLVER.PRECISION", "auto", TRAINING, ("auto", "fp32", "bf16", "fp16"), only="both")
# Clips in a batch of all processes together, P x K: a multiple of DATALOADER.NUM_INSTANCE.
declare("SOLVER.STAGE2.IMS_PER_BATCH", 18, BATCHES, Range(1, 65_536))
# Parts of a batch, of at least two identities, that are computed one after another to save memory; triplets are mined,
# and batch norms take their statistics, within a part.
declare("SOLVER.STAGE2.ACCUMULATION_STEPS", 1, BATCHES, Range(1, 65_536))
# Learning rate, and weight decay of weights and of biases.
declare("SOLVER.STAGE2.BASE_LR", 5e-6, TRAINING, Range(0, 100, without=0))
declare("SOLVER.STAGE2.WEIGHT_DECAY", 1e-4, TRAINING, Range(0, 100))
declare("SOLVER.STAGE2.WEIGHT_DECAY_BIAS", 1e-4, TRAINING, Range(0, 100))
# "Adam" (as published: L2 regularisation) | "AdamW" (decoupled weight decay, which usually needs a larger value).
declare("SOLVER.STAGE2.OPTIMIZER_NAME", "Adam", TRAINING, ("Adam", "AdamW"))
# Factors of the learning rate. They multiply where several apply: a bias of the prompt gets three of them.
declare("SOLVER.STAGE2.BIAS_LR_FACTOR", 2.0, TRAINING, AMOUNT)
declare("SOLVER.STAGE2.ENCODER_LR_FACTOR", 1.0, TRAINING, AMOUNT)  # weights that come from CLIP
declare("SOLVER.STAGE2.ENCODER_BIAS_LR_FACTOR", 1.0, TRAINING, AMOUNT)  # biases that come from CLIP
declare("SOLVER.STAGE2.NEW_MODULE_LR_FACTOR", 1.0, TRAINING, AMOUNT)  # everything that does not come from CLIP
declare("SOLVER.STAGE2.HEAD_LR_FACTOR", 1.0, TRAINING, AMOUNT)  # classifiers and necks
declare("SOLVER.STAGE2.PROMPT_LR_FACTOR", 1.0, TRAINING, AMOUNT)  # sequence-specific prompt
declare("SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR", 10.0, TRAINING, AMOUNT)
# Factor of the learning rate for every layer of the encoder above a parameter: the last norm has the encoder's rate. 1
# switches it off.
declare("SOLVER.STAGE2.LAYER_DECAY", 1.0, TRAINING, Range(0, 1, without=0))
# Factors of the weight decay, of weights and biases alike; they multiply as those of the learning rate do.
declare("SOLVER.STAGE2.ENCODER_DECAY_FACTOR", 1.0, TRAINING, AMOUNT)
declare("SOLVER.STAGE2.NEW_MODULE_DECAY_FACTOR", 1.0, TRAINING, AMOUNT)
declare("SOLVER.STAGE2.HEAD_DECAY_FACTOR", 1.0, TRAINING, AMOUNT)
declare("SOLVER.STAGE2.PROMPT_DECAY_FACTOR", 1.0, TRAINING, AMOUNT)
# True subtracts from each weight's gradient its mean over all dimensions but the first (ECCV 2020).
declare("SOLVER.STAGE2.GRADIENT_CENTRALIZATION", True, TRAINING)
# Largest Euclidean norm of all gradients together, after centralisation; 0 (as published) clips none.
declare("SOLVER.STAGE2.CLIP_GRADIENT_NORM", 0.0, TRAINING, AMOUNT)
# Decay of a moving average of the weights (EMA), per update, such as 0.999; 0 (as published) keeps none.
declare("SOLVER.STAGE2.EMA_DECAY", 0.0, TRAINING, Range(0, 1, without=1))
declare("SOLVER.STAGE2.MAX_EPOCHS", 80, TRAINING, Range(1, 1_000_000))
# Learning rate after the warm-up: "step" (as published); "cosine" or "linear", which fall to LR_MIN_FACTOR of the base
# rate.
declare("SOLVER.STAGE2.SCHEDULE", "step", TRAINING, ("step", "cosine", "linear"))
declare("SOLVER.STAGE2.LR_MIN_FACTOR", 0.01, TRAINING, FRACTION)
# "step": epochs after which the learning rate is multiplied by GAMMA, in increasing order.
declare("SOLVER.STAGE2.STEPS", (30, 50, 70), TRAINING, Range(1, 1_000_000))
declare("SOLVER.STAGE2.GAMMA", 0.1, TRAINING, FRACTION)
# Linear warm-up: number of epochs (the name is the published one), and the factor of the first epoch.
declare("SOLVER.STAGE2.WARMUP_ITERS", 10, TRAINING, AMOUNT)
declare("SOLVER.STAGE2.WARMUP_FACTOR", 0.1, TRAINING, FRACTION)
# True starts a training step on CUDA as two recorded graphs, not kernel by kernel; no card has tried it yet.
declare("SOLVER.CUDA_GRAPHS", False, PLACE, only="training")
# Steps between two log lines; on CUDA also between two measures of what is only logged (accuracy, hard-label terms).
declare("SOLVER.STAGE2.LOG_PERIOD", 50, PLACE, Range(1, 1_000_000_000), only="training")
# True measures at start how fast the device multiplies matrices, and logs what share of that a training step reaches.
declare("SOLVER.STAGE2.MEASURE_RATE", False, PLACE, only="training")
# Epochs between two evaluations; 0 switches them off.
declare("SOLVER.STAGE2.EVAL_PERIOD", 10, PLACE, AMOUNT, only="training")
# Minutes between two checkpoints within an epoch; 0 saves none there.
declare("SOLVER.STAGE2.CHECKPOINT_MINUTES", 30.0, PLACE, AMOUNT, only="training")
# A loss that is not finite: "stop" training before the weights change, or "skip" the batch and count it.
declare("SOLVER.STAGE2.NON_FINITE_LOSS", "stop", TRAINING, ("stop", "skip"))

# A checkpoint file; or in OUTPUT_DIR the "last" (also '') or the "best", which validation chose.
declare("TEST.WEIGHT", "", PLACE, only="evaluation")
# True evaluates the moving average of the weights (SOLVER.STAGE2.EMA_DECAY).
declare("TEST.AVERAGED_WEIGHTS", False, RANKING, only="evaluation")
# Clips in a batch; with FLIP, the mirror image of each is computed as well.
declare("TEST.IMS_PER_BATCH", 32, PLACE, Range(1, 65_536))
# Clips that describe a tracklet; their features are averaged. A tracklet is cut into SEQ_LEN parts, and clip j of n
# takes from each part the frame at the fraction j / n.
declare("TEST.NUM_CLIPS", 1, FEATURES, Range(1, 1000))
# "before" the neck: [f_img, f_proj, f_tmp], 2D + P numbers; "after" the neck: [f_img, f_proj], D + P numbers.
declare("TEST.NECK_FEAT", "before", FEATURES, ("before", "after"))
# True L2-normalises features before distances are computed.
declare("TEST.FEAT_NORM", True, FEATURES)
# True averages the features of each clip and its mirror image.
declare("TEST.FLIP", True, FEATURES)
# Other runs whose descriptors join those of the evaluated one in one more row: folders, whose last checkpoint counts,
# or checkpoint files. Each run is described by its own configuration.
declare("TEST.ENSEMBLE", (), RANKING, only="evaluation")
# Soft-biometric mask: "none"; "annotated" (as published) reads the annotated attributes of the test set; "soft"
# multiplies their penalties by each column's reliability; "predicted" predicts attributes from descriptors or by
# TEXT_TOWER. "soft" and, without a TEXT_TOWER, "predicted" need the file of `python -m tools.train_attributes`.
declare("TEST.MASK", "annotated", RANKING, ("none", "annotated", "soft", "predicted"))
# Attribute columns of "annotated" and "soft", among those that the data set has; () switches these masks off (TF-CLIP).
declare("TEST.MASK_ATTRIBUTES", ("gender", "age", "ethnicity", "body_volume"), RANKING)
# Added to the distance for each of these columns in which query and gallery differ and both are known.
declare("TEST.MASK_PENALTY", 100.0, RANKING, Range(0, 10_000))
# "predicted": added for each column that has a classifier, times the squared Hellinger distance (0..1) of both sides.
declare("TEST.PREDICTED_PENALTY", 0.1, RANKING, Range(0, 10_000), only="evaluation")
# "predicted" without trained classifiers (zero-shot): a CLIP file with both towers, or captions of demo/pretrain.py.
declare("TEST.TEXT_TOWER", "", RANKING, only="evaluation")
# True has tools/train_attributes.py keep classifiers of gender, age and ethnicity, and "predicted" use them.
declare("TEST.PREDICT_SENSITIVE", False, RANKING, only="evaluation")
# Training cameras whose embeddings the cameras of the test set get, as annotated: with "0:4,1:5", 0 gets that of 4, 1
# that of 5, and others count as unknown. '' keeps the numbers; on another data set than that of training, every camera
# is unknown.
declare("TEST.CAMERA_MAP", "", RANKING, only="evaluation")
# True also reports k-reciprocal re-ranking (CVPR 2017), with these k1, k2 and lambda.
declare("TEST.RE_RANKING", False, RANKING)
declare("TEST.RE_RANKING_K1", 20, RANKING, Range(1, 10_000))
declare("TEST.RE_RANKING_K2", 6, RANKING, Range(1, 10_000))
declare("TEST.RE_RANKING_LAMBDA", 0.3, RANKING, FRACTION)
# Also report query expansion by the K nearest gallery tracklets, "average" or "weighted" by similarity ** ALPHA.
declare("TEST.QUERY_EXPANSION", "", RANKING, ("", "average", "weighted"))
declare("TEST.QUERY_EXPANSION_K", 10, RANKING, Range(1, 10_000))
declare("TEST.QUERY_EXPANSION_ALPHA", 3.0, RANKING, Range(0, 100, without=0))
# Also report features plus those of their mutual nearest neighbours (Pose2ID, CVPR 2025, k1 = k2 = 2) on these sides.
declare("TEST.MUTUAL_NEIGHBOURS", "", RANKING, ("", "gallery", "both"))
# Also report features normalised by the mean and deviation of their camera (arXiv 2502.10195): those of the "gallery"'s
# tracklets, or on "both" sides each side's own.
declare("TEST.CAMERA_NORMALIZATION", "", RANKING, ("", "gallery", "both"))
# What CAMERA_NORMALIZATION takes statistics of: each "camera", or each "view" (aerial, ground).
declare("TEST.NORMALIZATION_GROUPS", "camera", RANKING, ("camera", "view"))
# Gallery tracklets that tracklet_rankings.csv lists for a query; 0 lists all.
declare("TEST.RANKING_LENGTH", 20, PLACE, Range(0, 1_000_000_000), only="evaluation")
# People of each direction, the worst ranked, for whom report.html shows what the network looked at.
declare("TEST.NUM_MAPS", 8, PLACE, Range(0, 1_000_000_000), only="evaluation")
# True also writes all distances, distmat*.npz.
declare("TEST.SAVE_DISTANCES", False, PLACE, only="evaluation")
# True keeps the features of both sides in features/ of the results folder, which the next equal evaluation reads.
declare("TEST.KEEP_FEATURES", True, PLACE, only="evaluation")
# Protocol of scoring: '' is the data set's own; with "mars-official", queries also stay in the gallery of MARS.
declare("TEST.PROTOCOL", "", RANKING, ("", "cross-camera", "all-cameras", "mars-official", "vreid-xfd"))
