"""Every configuration key, declared once, with its meaning, unit and allowed values.

The defaults are the recipe of the AG-VPReID 2025 winner (X-TFCLIP, arXiv 2506.22843); an experiment is a YAML that
holds only what differs. Keys that exist in the published code keep their published names.
"""

from yacs.config import CfgNode as CN

_C = CN()

# Folder for checkpoints, logs and the frozen config of a run.
_C.OUTPUT_DIR = "logs/xtfclip"

_C.MODEL = CN()
# "auto" (CUDA where there is one, else the CPU with a warning), "cuda", "cuda:1", "cpu".
_C.MODEL.DEVICE = "auto"
# CLIP-style ViT: "ViT-B-16" (as published), "ViT-L-14", or any timm name with "clip" in it.
_C.MODEL.NAME = "ViT-B-16"
# Dimensions that replace those of the named ViT; 0 keeps its own. For small models such as the demo's.
_C.MODEL.VIT = CN()
_C.MODEL.VIT.EMBED_DIM = 0  # width D
_C.MODEL.VIT.DEPTH = 0  # blocks
_C.MODEL.VIT.NUM_HEADS = 0
_C.MODEL.VIT.PATCH_SIZE = 0  # pixels
_C.MODEL.VIT.PROJ_DIM = 0  # projected width P
# Steps between patches, (vertical, horizontal), pixels; smaller than the patch makes patches overlap.
_C.MODEL.STRIDE_SIZE = (16, 16)
# Start from CLIP weights. False starts from random weights, with a warning.
_C.MODEL.PRETRAINED = True
# Local CLIP weights: OpenAI's archive (ViT-B-16.pt), or a timm or open_clip state dict (.pt, .pth, .safetensors).
# Empty: timm fetches them from its hub.
_C.MODEL.PRETRAIN_PATH = ""
# Weights of the loss terms (METHOD: total = 0.25 id + triplet + memory + frame / T).
_C.MODEL.ID_LOSS_WEIGHT = 0.25
_C.MODEL.TRIPLET_LOSS_WEIGHT = 1.0
_C.MODEL.I2T_LOSS_WEIGHT = 1.0  # clip feature against CLIP memory
_C.MODEL.FRAME_LOSS_WEIGHT = 1.0  # divided by T
# Side information (TransReID): one embedding per training camera, added to the class token times SIE_COE.
_C.MODEL.SIE_CAMERA = True
_C.MODEL.SIE_COE = 1.0
# The extras of X-TFCLIP over TF-CLIP inside the network. TF-CLIP: "bilinear", "mean", False, False, "batch".
_C.MODEL.POSITION_RESIZE = "bicubic"  # "bicubic" | "bilinear": position embedding to the input's patch grid
_C.MODEL.POOLING = "attention"  # "attention" | "mean": over frames, tokens and video tokens
_C.MODEL.FRAME_EMBEDDING = True  # one learned embedding per frame of a clip, added to the class token
_C.MODEL.MEMORY_WEIGHTING = True  # a M + (1 - a) SSP instead of M + SSP
_C.MODEL.FEATURE_NECK = "instance"  # "instance" (IN-BNNeck) | "batch" (BNNeck)
# Dropout inside the sequence-specific prompt, probability.
_C.MODEL.PROMPT_DROPOUT = 0.1

_C.LOSS = CN()
# "online" (Online Label Smoothing, arXiv 2011.12562) | "uniform" (TF-CLIP).
_C.LOSS.LABEL_SMOOTHING = "online"
# Probability taken from the true class: by "uniform" always, by "online" in the first epoch.
_C.LOSS.SMOOTHING = 0.1
# Share of the hard cross entropy in "online"; the rest is the soft one.
_C.LOSS.HARD_WEIGHT = 0.5

_C.INPUT = CN()
# (height, width), pixels; each a multiple of the patch size.
_C.INPUT.SIZE_TRAIN = (288, 144)
_C.INPUT.SIZE_TEST = (288, 144)
# Frames in a clip, T.
_C.INPUT.SEQ_LEN = 8
# RGB normalisation, on the 0..1 scale. The published numbers use ImageNet's.
_C.INPUT.PIXEL_MEAN = (0.485, 0.456, 0.406)
_C.INPUT.PIXEL_STD = (0.229, 0.224, 0.225)
# Probability that a training clip is flipped (always all its frames), and that a training frame has a rectangle erased.
_C.INPUT.PROB = 0.5
_C.INPUT.RE_PROB = 0.5
# Random crop of training frames: pixels of mean colour put around a frame before it is cropped to its old size; 0 (as
# published) is off, 10 is usual in re-identification; less than the shorter side of SIZE_TRAIN. (INPUT.PADDING
# of published YAML files is not this key: published training read it nowhere and did not crop.)
_C.INPUT.CROP_PADDING = 0
# Colour jitter of training frames, strength s in 0..1: brightness, contrast and saturation times 1 - s .. 1 + s; hue
# stays. 0 (as published) is off. With CONSISTENT_AUGMENTATION it is the video-consistent colour jitter that, together
# with learning rates per module group, gave SAS-VPReID 1.75 of its 2.10 points on DetReIDX (its ablation).
_C.INPUT.COLOR_JITTER = 0.0
# Erase, crop and jitter all frames of a clip alike. False (erasing: as published) draws for each frame on its own.
_C.INPUT.CONSISTENT_AUGMENTATION = False

_C.DATASETS = CN()
# A name of the registry in datasets/__init__.py: agvpreid, detreidx, g2avreid, ilidsvid, lsvid, mars.
_C.DATASETS.NAMES = "agvpreid"
# The data set's folder; for agvpreid the one that holds train/, case1_aerial_to_ground/, ... (README, 'Data sets').
_C.DATASETS.ROOT_DIR = "data/AG-VPReID"
# What eval_main.py ranks: "case1" (aerial to ground), "case2" (ground to aerial), "case3" (aerial to aerial) or
# "all" of the data set. Data sets without aerial cameras have one case, "case1".
_C.DATASETS.EVAL_CASE = "case1"
# Data sets with several divisions into training and test people (iLIDS-VID: 1 to 10): which one.
_C.DATASETS.SPLIT = 1
# Half of the division's list that trains (iLIDS-VID): "second" (torchreid, VSLA-CLIP) | "first" (TF-CLIP).
_C.DATASETS.TRAIN_HALF = "second"
# Number of the camera that is aerial (G2A-VReID); 0: the one that no query comes from.
_C.DATASETS.AERIAL_CAMERA = 0
# The copy's test people are numbered anew on each side, as challenges do: rank and write the submission, do not score.
# AG-VPReID's challenge copy is recognised without it.
_C.DATASETS.IDENTITIES_MASKED = False
# Folder for lists of frames (AG-VPReID, DetReIDX), which are made once and renewed when the tree changes. Empty:
# xtfclip/ in $XDG_CACHE_HOME, or in ~/.cache. A folder beside the data lets several people share them.
_C.DATASETS.INDEX_DIR = ""

_C.DATALOADER = CN()
# Tracklets of each identity in a training batch, K of P x K sampling.
_C.DATALOADER.NUM_INSTANCE = 6
# Give the K tracklets of an identity as many aerial as ground ones (at least one of each) where it has both and
# without repeating a tracklet that K distinct ones could spare. Needs K >= 2. False (as published): by chance.
_C.DATALOADER.BOTH_VIEWS = False
# Draw the aerial tracklets of an identity so that altitudes appear as evenly as they can. False (as published): by
# chance, so an altitude appears as often as it was filmed.
_C.DATALOADER.BALANCE_ALTITUDES = False
# Decoding processes; 0 decodes in the main process.
_C.DATALOADER.NUM_WORKERS = 8
# A frame that cannot be read is replaced by the nearest readable one of its tracklet. More than this share of the
# frames of an epoch (or of the pass that builds CLIP memory), 0..1, stops training; evaluation only lists them.
_C.DATALOADER.MAX_BAD_FRACTION = 0.01
# Folder in which resized frames are kept for later epochs and runs, the same to the bit; empty (default): nowhere. It
# pays where reading and decoding hold the GPU up: slow or remote storage, large frames; the first pass is slower, as it
# writes. Several runs may share a folder, but only on one machine, and in one container: put it on a local disk, never
# on a network file system, where the locks of LMDB do not work.
_C.DATALOADER.CACHE_DIR = ""
# Bound of the file in CACHE_DIR, GiB (2**30 bytes), positive. When it is reached, no more frames are added, and those
# that are not there are decoded every time. A frame takes height x width x 3 bytes, 122 KiB (124 on disk) at 288x144:
# 50 GiB hold 420,000 frames, and MARS's 1.2 million would need 142 GiB.
_C.DATALOADER.CACHE_GIB = 50.0

_C.SOLVER = CN()
_C.SOLVER.SEED = 1234
# Margin of the batch-hard triplet loss, raw Euclidean distance.
_C.SOLVER.MARGIN = 0.3
# "auto" (fp16 on CUDA as published, bf16 on CPUs with bf16 instructions, else fp32), "fp32", "bf16", "fp16".
_C.SOLVER.PRECISION = "auto"
# The one training stage (stage 1 of CLIP-ReID, prompt learning, has no counterpart here).
_C.SOLVER.STAGE2 = CN()
# Clips in a batch, P x K, in every process; a multiple of DATALOADER.NUM_INSTANCE.
_C.SOLVER.STAGE2.IMS_PER_BATCH = 18
_C.SOLVER.STAGE2.BASE_LR = 5e-6
_C.SOLVER.STAGE2.WEIGHT_DECAY = 1e-4
_C.SOLVER.STAGE2.WEIGHT_DECAY_BIAS = 1e-4
# Learning-rate factors: of biases; of the temporal classifier; of everything that does not come from CLIP.
_C.SOLVER.STAGE2.BIAS_LR_FACTOR = 2.0
_C.SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR = 10.0
_C.SOLVER.STAGE2.NEW_MODULE_LR_FACTOR = 1.0
# Subtract from each weight's gradient its mean over all but the first dimension (ECCV 2020).
_C.SOLVER.STAGE2.GRADIENT_CENTRALIZATION = True
_C.SOLVER.STAGE2.MAX_EPOCHS = 80
# Epochs after which the learning rate is multiplied by GAMMA.
_C.SOLVER.STAGE2.STEPS = (30, 50, 70)
_C.SOLVER.STAGE2.GAMMA = 0.1
# Linear warm-up: epochs (published name), and the factor of the first epoch.
_C.SOLVER.STAGE2.WARMUP_ITERS = 10
_C.SOLVER.STAGE2.WARMUP_FACTOR = 0.1
# Steps between two log lines; epochs between two evaluations (0: never).
_C.SOLVER.STAGE2.LOG_PERIOD = 50
_C.SOLVER.STAGE2.EVAL_PERIOD = 10

_C.TEST = CN()
# Checkpoint to evaluate; empty: the best (else the last) one in OUTPUT_DIR.
_C.TEST.WEIGHT = ""
# Clips in a batch (each is also computed flipped).
_C.TEST.IMS_PER_BATCH = 32
# Clips of SEQ_LEN frames to describe each tracklet by, at least 1; their features are averaged. A tracklet is cut in
# SEQ_LEN segments, and clip j of n takes the frame j / n into each: 1 (as published) takes the first of each. The time
# and the frames decoded grow n-fold.
_C.TEST.NUM_CLIPS = 1
# "before": [f_img, f_proj, f_tmp], 2D + P numbers; "after" the neck: [f_img, f_proj], D + P numbers.
_C.TEST.NECK_FEAT = "before"
# L2-normalise features before distances.
_C.TEST.FEAT_NORM = True
# Average the features of each clip and its mirror image.
_C.TEST.FLIP = True
# Attribute columns of the soft-biometric mask, of those that the data set has; () switches it off (TF-CLIP). Rows that
# use it are always labelled 'annotated attributes' and printed beside the visual ones.
_C.TEST.MASK_ATTRIBUTES = ("gender", "age", "ethnicity", "body_volume")
# Added to the distance for every such column in which query and gallery disagree and neither is unknown.
_C.TEST.MASK_PENALTY = 100.0
# Also report k-reciprocal re-ranking (CVPR 2017), with its k1, k2 and lambda.
_C.TEST.RE_RANKING = False
_C.TEST.RE_RANKING_K1 = 20
_C.TEST.RE_RANKING_K2 = 6
_C.TEST.RE_RANKING_LAMBDA = 0.3
# Gallery tracklets listed per query in tracklet_rankings.csv; 0 lists all. AG-VPReID's challenge scores 20; its sample
# lists 10.
_C.TEST.RANKING_LENGTH = 20

# Rules of scoring: '' (the data set's own) or a name of utils.metrics.PROTOCOLS: "cross-camera", "all-cameras",
# "mars-official" (in MARS, queries then also stay in the gallery), "vreid-xfd". Printed with every result.
_C.TEST.PROTOCOL = ""
