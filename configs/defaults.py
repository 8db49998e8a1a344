"""Every configuration key with its default, meaning, unit and allowed values.

Each key is declared once. The defaults are the recipe of the AG-VPReID 2025 winner (X-TFCLIP, arXiv 2506.22843); the
YAML of an experiment holds only what differs. Keys that exist in the published code keep their published names.
"""

from yacs.config import CfgNode as CN

_C = CN()

# Folder for the checkpoints, the logs and the frozen config of a run.
_C.OUTPUT_DIR = "logs/xtfclip"

_C.MODEL = CN()
# Device: "auto" (CUDA if there is a device, otherwise the CPU, with a warning), "cuda", "cuda:1", "cpu".
_C.MODEL.DEVICE = "auto"
# CLIP-style ViT: "ViT-B-16" (as published), "ViT-B-32", "ViT-L-14", or any timm name that contains "clip".
_C.MODEL.NAME = "ViT-B-16"
# Dimensions that replace those of the named ViT; 0 keeps the ViT's own. They are for small models such as the demo's.
_C.MODEL.VIT = CN()
_C.MODEL.VIT.EMBED_DIM = 0  # width D
_C.MODEL.VIT.DEPTH = 0  # number of blocks
_C.MODEL.VIT.NUM_HEADS = 0  # attention heads of a block
_C.MODEL.VIT.PATCH_SIZE = 0  # side of a patch, pixels
_C.MODEL.VIT.PROJ_DIM = 0  # projected width P
# Steps between patches, (vertical, horizontal), pixels. Patches overlap if a step is smaller than the patch.
_C.MODEL.STRIDE_SIZE = (16, 16)
# True starts from CLIP weights. False starts from random weights, with a warning.
_C.MODEL.PRETRAINED = True
# Local CLIP weights: OpenAI's archive (ViT-B-16.pt), or a state dict of timm or open_clip (.pt, .pth, .safetensors).
# If this is empty, timm downloads them from its hub.
_C.MODEL.PRETRAIN_PATH = ""
# Checkpoint of another run (ours or a published one) to start from instead of CLIP weights, as in fine-tuning; other
# people and cameras may be trained on. Classifiers that the file lacks start anew, and so do classifiers and camera
# embeddings with another number of rows; all other parameters must fit. CLIP memory is then computed by this encoder.
# Empty starts from CLIP.
_C.MODEL.INIT_WEIGHT = ""
# Blocks of the encoder, counted from the input, that are not trained, together with all of CLIP below them (patch,
# class and position embeddings); 0 trains all. Camera and frame embeddings are trained in any case, so gradients still
# pass through frozen blocks.
_C.MODEL.FREEZE_BLOCKS = 0
# True keeps only the inputs of the large blocks (encoder, temporal memory, prompt) in training and computes the rest
# again for the gradients, which stay the same: less memory, about a third more time.
_C.MODEL.GRADIENT_CHECKPOINTING = False
# True compiles the encoder's blocks with torch.compile. The first steps are slow; a C++ compiler is needed.
_C.MODEL.COMPILE = False
# Weights of the loss terms (METHOD section 6: total = 0.25 id + triplet + memory + frame / T).
_C.MODEL.ID_LOSS_WEIGHT = 0.25
_C.MODEL.TRIPLET_LOSS_WEIGHT = 1.0
_C.MODEL.I2T_LOSS_WEIGHT = 1.0  # clip feature against CLIP memory
_C.MODEL.FRAME_LOSS_WEIGHT = 1.0  # the term is divided by T as well
# Side information (TransReID): the class token gets an embedding of its training camera, times SIE_COE.
_C.MODEL.SIE_CAMERA = True
_C.MODEL.SIE_COE = 1.0
# What X-TFCLIP adds to TF-CLIP inside the network. TF-CLIP has "bilinear", "mean", False, False, "batch".
_C.MODEL.POSITION_RESIZE = "bicubic"  # "bicubic" | "bilinear": resizes position embeddings to the input's patch grid
_C.MODEL.POOLING = "attention"  # "attention" | "mean": pools frames, tokens and video tokens
_C.MODEL.FRAME_EMBEDDING = True  # adds one learned embedding per frame of a clip to the class token
_C.MODEL.MEMORY_WEIGHTING = True  # True: memory is a M + (1 - a) SSP; False: it is M + SSP
_C.MODEL.FEATURE_NECK = "instance"  # "instance" (IN-BNNeck) | "batch" (BNNeck)
# Dropout inside the sequence-specific prompt, probability.
_C.MODEL.PROMPT_DROPOUT = 0.1

_C.LOSS = CN()
# "online" (Online Label Smoothing, arXiv 2011.12562) | "uniform" (TF-CLIP).
_C.LOSS.LABEL_SMOOTHING = "online"
# Probability that is taken from the true class: with "uniform" in every epoch, with "online" in the first epoch.
_C.LOSS.SMOOTHING = 0.1
# Share of the hard cross entropy in "online", 0..1; the rest is the soft cross entropy.
_C.LOSS.HARD_WEIGHT = 0.5

_C.INPUT = CN()
# Size of the frames in training and in testing, (height, width), pixels; each is a multiple of the patch size.
_C.INPUT.SIZE_TRAIN = (288, 144)
_C.INPUT.SIZE_TEST = (288, 144)
# Frames in a clip, T.
_C.INPUT.SEQ_LEN = 8
# Mean and standard deviation of R, G and B, on the 0..1 scale. The published numbers use ImageNet's.
_C.INPUT.PIXEL_MEAN = (0.485, 0.456, 0.406)
_C.INPUT.PIXEL_STD = (0.229, 0.224, 0.225)
# Probability that a training clip is flipped (all its frames together).
_C.INPUT.PROB = 0.5
# Probability that a rectangle of a training frame is erased.
_C.INPUT.RE_PROB = 0.5
# Random crop of training frames: a frame gets a border of mean colour, this many pixels wide, and is cropped to its old
# size. 0 (as published) switches it off; 10 is usual in re-identification. It must be less than the shorter side of
# SIZE_TRAIN. (INPUT.PADDING of published YAML files is another key, which published training did not read.)
_C.INPUT.CROP_PADDING = 0
# Colour jitter of training frames, strength s in 0..1: brightness, contrast and saturation are multiplied by 1 - s to
# 1 + s; the hue stays. 0 (as published) switches it off. (In the ablation of SAS-VPReID on DetReIDX, jitter of the hue,
# consistent within a clip, and learning rates per module group together gave 1.75 of its 2.10 points.)
_C.INPUT.COLOR_JITTER = 0.0
# True erases, crops and jitters all frames of a clip alike. False draws for each frame separately (erasing: published).
_C.INPUT.CONSISTENT_AUGMENTATION = False

_C.DATASETS = CN()
# Data set: agvpreid, detreidx, g2avreid, ilidsvid, lsvid, mars; or folder (docs/datasets.md, 'Your own data').
_C.DATASETS.NAMES = "agvpreid"
# Folder of the data set; for agvpreid the folder that holds train/, case1_aerial_to_ground/, and so on.
_C.DATASETS.ROOT_DIR = "data/AG-VPReID"
# Table of the tracklets in ROOT_DIR, for NAMES folder; a relative path begins in ROOT_DIR.
_C.DATASETS.TABLE = "tracklets.csv"
# Direction that eval_main.py ranks: "case1" (aerial to ground), "case2" (ground to aerial), "case3" (aerial to aerial)
# or "all" directions of the data set. Data sets without aerial cameras have one direction, "case1".
_C.DATASETS.EVAL_CASE = "case1"
# Division into training and test people, for data sets that have several (iLIDS-VID: 1 to 10). Published files count
# from 0.
_C.DATASETS.SPLIT = 1
# Half of the division's list on which to train (iLIDS-VID): "second" (torchreid, VSLA-CLIP) | "first" (TF-CLIP).
_C.DATASETS.TRAIN_HALF = "second"
# Number of the aerial camera (G2A-VReID); 0 finds the camera that no query comes from.
_C.DATASETS.AERIAL_CAMERA = 0
# True says that test people are numbered separately in query and gallery, as in challenges: rankings and submission are
# then written, and nothing is scored. The challenge copy of AG-VPReID is recognised without this key.
_C.DATASETS.IDENTITIES_MASKED = False
# Folder of a validation split (tools/make_validation_split.py), of people who are neither trained on nor tested. With
# it, validation during training scores these people and chooses checkpoint_best.pth. Without it, training only monitors
# the scores of the test people, and the last checkpoint counts. To train on the split's own training people, name it in
# ROOT_DIR, too.
_C.DATASETS.VALIDATION_DIR = ""
# Folder for lists of frames (AG-VPReID, DetReIDX). A list is written once and rebuilt when the tree changes. Empty
# means xtfclip/ in $XDG_CACHE_HOME or in ~/.cache. A folder beside the data lets several people share the lists.
_C.DATASETS.INDEX_DIR = ""

_C.DATALOADER = CN()
# Tracklets of each identity in a training batch, K of P x K sampling.
_C.DATALOADER.NUM_INSTANCE = 6
# True draws as many aerial as ground tracklets among the K of an identity, and at least one of each, if it has both. No
# tracklet is repeated for this while K different ones exist. It needs K >= 2. False (as published) draws K at random.
_C.DATALOADER.BOTH_VIEWS = False
# True draws the aerial tracklets of an identity so that altitudes appear as evenly as possible. False (as published)
# draws at random, so an altitude appears as often as it was filmed.
_C.DATALOADER.BALANCE_ALTITUDES = False
# Number of decoding processes; 0 decodes in the main process.
_C.DATALOADER.NUM_WORKERS = 8
# Largest share of unreadable frames, 0..1, in an epoch or in the pass that builds CLIP memory; more than this stops
# training. An unreadable frame is replaced by the nearest readable frame of its tracklet. Evaluation only lists them.
_C.DATALOADER.MAX_BAD_FRACTION = 0.01
# Folder that keeps resized frames, bit for bit, for later epochs and runs; empty (default) keeps none. This helps where
# reading and decoding delay the GPU: slow or remote storage, large frames. The first pass is slower because it writes.
# Several runs may share a folder, but only on one machine and in one container: use a local disk and never a network
# file system, where the locks of LMDB do not work.
_C.DATALOADER.CACHE_DIR = ""
# Largest size of the file in CACHE_DIR, GiB (2**30 bytes), positive. When it is reached, no more frames are added, and
# frames that are not in it are decoded every time. A frame takes height x width x 3 bytes, 122 KiB (124 on disk) at
# 288x144: 50 GiB hold 420,000 frames, and the 1.2 million frames of MARS would need 142 GiB.
_C.DATALOADER.CACHE_GIB = 50.0

_C.SOLVER = CN()
# Seed of every random choice.
_C.SOLVER.SEED = 1234
# Margin of the batch-hard triplet loss, Euclidean distance.
_C.SOLVER.MARGIN = 0.3
# "auto" (fp16 on CUDA as published, bf16 on CPUs with bf16 instructions, otherwise fp32), "fp32", "bf16", "fp16".
_C.SOLVER.PRECISION = "auto"
# The one training stage. (Stage 1 of CLIP-ReID, prompt learning, does not exist here.)
_C.SOLVER.STAGE2 = CN()
# Clips in a batch, P x K: the whole batch, whatever the number of processes (torchrun), which must divide it. It is a
# multiple of DATALOADER.NUM_INSTANCE.
_C.SOLVER.STAGE2.IMS_PER_BATCH = 18
# Parts of a batch that are computed one after another, to save memory; the weights change once a batch, by the mean of
# the parts' gradients. A part holds whole identities, at least two. It differs from a whole batch only in that triplets
# are mined, and batch norms take their statistics, within a part. 1 (as published) computes the batch whole.
_C.SOLVER.STAGE2.ACCUMULATION_STEPS = 1
# Learning rate, and weight decay of weights and of biases.
_C.SOLVER.STAGE2.BASE_LR = 5e-6
_C.SOLVER.STAGE2.WEIGHT_DECAY = 1e-4
_C.SOLVER.STAGE2.WEIGHT_DECAY_BIAS = 1e-4
# "Adam" (as published: L2 regularisation) | "AdamW" (decoupled weight decay, which usually needs a larger value).
_C.SOLVER.STAGE2.OPTIMIZER_NAME = "Adam"
# Factors of the learning rate. They multiply where several apply: a bias of the prompt gets three of them.
_C.SOLVER.STAGE2.BIAS_LR_FACTOR = 2.0
_C.SOLVER.STAGE2.ENCODER_LR_FACTOR = 1.0  # weights that come from CLIP
_C.SOLVER.STAGE2.NEW_MODULE_LR_FACTOR = 1.0  # everything that does not come from CLIP
_C.SOLVER.STAGE2.HEAD_LR_FACTOR = 1.0  # classifiers and necks
_C.SOLVER.STAGE2.PROMPT_LR_FACTOR = 1.0  # sequence-specific prompt
_C.SOLVER.STAGE2.TEMPORAL_CLASSIFIER_LR_FACTOR = 10.0
# Factor of the learning rate for every layer of the encoder that lies above a parameter, 0..1 without 0: with 0.7, the
# last norm and the projection have the encoder's rate, the last block 0.7 times that, and so on down to the embeddings.
# 1 (as published) switches it off.
_C.SOLVER.STAGE2.LAYER_DECAY = 1.0
# Factors of the weight decay, of weights and biases alike; they multiply as those of the learning rate do.
_C.SOLVER.STAGE2.ENCODER_DECAY_FACTOR = 1.0
_C.SOLVER.STAGE2.NEW_MODULE_DECAY_FACTOR = 1.0
_C.SOLVER.STAGE2.HEAD_DECAY_FACTOR = 1.0
_C.SOLVER.STAGE2.PROMPT_DECAY_FACTOR = 1.0
# True subtracts from each weight's gradient its mean over all dimensions but the first (ECCV 2020).
_C.SOLVER.STAGE2.GRADIENT_CENTRALIZATION = True
# Largest Euclidean norm of all gradients together, after centralisation; larger gradients are scaled down to it.
# 0 (as published) switches clipping off.
_C.SOLVER.STAGE2.CLIP_GRADIENT_NORM = 0.0
# Decay of a moving average of the weights (EMA), per update, 0..1 without 1; such as 0.999. The average is validated
# beside the weights and saved in the checkpoint; TEST.AVERAGED_WEIGHTS evaluates it. 0 (as published) keeps none.
_C.SOLVER.STAGE2.EMA_DECAY = 0.0
_C.SOLVER.STAGE2.MAX_EPOCHS = 80
# Learning rate after the warm-up: "step" (as published), "cosine" or "linear" (both fall from the end of the warm-up to
# LR_MIN_FACTOR times the base rate in the last epoch).
_C.SOLVER.STAGE2.SCHEDULE = "step"
_C.SOLVER.STAGE2.LR_MIN_FACTOR = 0.01
# "step": epochs after which the learning rate is multiplied by GAMMA, in increasing order.
_C.SOLVER.STAGE2.STEPS = (30, 50, 70)
_C.SOLVER.STAGE2.GAMMA = 0.1
# Linear warm-up: number of epochs (the name is the published one), and the factor of the first epoch.
_C.SOLVER.STAGE2.WARMUP_ITERS = 10
_C.SOLVER.STAGE2.WARMUP_FACTOR = 0.1
# Steps between two log lines.
_C.SOLVER.STAGE2.LOG_PERIOD = 50
# True measures at start, in some seconds, how fast the device multiplies matrices. The log and history.csv then say
# what share of that rate the matrix products of a training step reach.
_C.SOLVER.STAGE2.MEASURE_RATE = True
# Epochs between two evaluations; 0 switches them off.
_C.SOLVER.STAGE2.EVAL_PERIOD = 10
# Minutes between two checkpoints within an epoch; 0 saves between epochs only. A signal to stop (Ctrl-C, SIGTERM,
# SIGUSR1) saves in any case.
_C.SOLVER.STAGE2.CHECKPOINT_MINUTES = 30.0
# A loss that is not finite: "stop" training before the weights change, or "skip" the batch and count it.
_C.SOLVER.STAGE2.NON_FINITE_LOSS = "stop"

_C.TEST = CN()
# Checkpoint to evaluate: a file; "last" or nothing for the last one in OUTPUT_DIR; "best" for the one there that
# validation chose (DATASETS.VALIDATION_DIR).
_C.TEST.WEIGHT = ""
# True evaluates the moving average of the weights, which a run with SOLVER.STAGE2.EMA_DECAY keeps in its checkpoints.
_C.TEST.AVERAGED_WEIGHTS = False
# Clips in a batch; with FLIP, the mirror image of each is computed as well.
_C.TEST.IMS_PER_BATCH = 32
# Clips of SEQ_LEN frames that describe a tracklet, at least 1; their features are averaged. A tracklet is cut into
# SEQ_LEN segments, and clip j of n takes from each segment the frame at the fraction j / n. 1 (as published) takes the
# first frame of each. The time and the number of decoded frames grow n-fold.
_C.TEST.NUM_CLIPS = 1
# "before" the neck: [f_img, f_proj, f_tmp], 2D + P numbers; "after" the neck: [f_img, f_proj], D + P numbers.
_C.TEST.NECK_FEAT = "before"
# True L2-normalises features before distances are computed.
_C.TEST.FEAT_NORM = True
# True averages the features of each clip and its mirror image.
_C.TEST.FLIP = True
# Soft-biometric mask, whose rows stand beside the visual ones: "none"; "annotated" (as published) reads the attributes
# that are annotated in the test set; "soft" reads them, too, and multiplies each column's penalty by its reliability;
# "predicted" reads no annotation, but predicts attributes from descriptors or by TEXT_TOWER. "soft" and, without a
# TEXT_TOWER, "predicted" need the file that `python -m tools.train_attributes` writes after training; evaluations
# during training leave both out. Every row that uses annotations is labelled 'annotated attributes', and a row
# 'attributes alone' shows how far these get without a picture.
_C.TEST.MASK = "annotated"
# Attribute columns of "annotated" and "soft", among those that the data set has; () switches these masks off (TF-CLIP).
_C.TEST.MASK_ATTRIBUTES = ("gender", "age", "ethnicity", "body_volume")
# Added to the distance for each of these columns in which query and gallery differ and both are known.
_C.TEST.MASK_PENALTY = 100.0
# "predicted": added to the distance, times the squared Hellinger distance (0..1) of the two sides' probabilities, for
# each column that has a classifier. Squared distances of unit descriptors lie between 0 and 4, so it must be far below
# MASK_PENALTY.
_C.TEST.PREDICTED_PENALTY = 0.1
# "predicted" without trained classifiers: a CLIP file whose text and image towers predict attributes from their
# descriptions (zero-shot), or captions such as demo/demo_captions.safetensors. '' takes the classifiers that
# `python -m tools.train_attributes` trained; the same command with --text_tower calibrates the zero-shot ones.
_C.TEST.TEXT_TOWER = ""
# True has tools/train_attributes.py keep classifiers of gender, age and ethnicity, and "predicted" use them.
_C.TEST.PREDICT_SENSITIVE = False
# Training cameras whose embeddings the cameras of the test set get, as annotated: "0:4,1:5" gives test camera 0 the
# embedding of training camera 4, and 1 that of 5. All other cameras then count as unknown. '' leaves the numbers as
# they are on the data set that was trained on; on another one, whose numbers mean other cameras, all count as unknown.
_C.TEST.CAMERA_MAP = ""
# True also reports k-reciprocal re-ranking (CVPR 2017), with these k1, k2 and lambda.
_C.TEST.RE_RANKING = False
_C.TEST.RE_RANKING_K1 = 20
_C.TEST.RE_RANKING_K2 = 6
_C.TEST.RE_RANKING_LAMBDA = 0.3
# Also report query expansion: the mean of a query's feature and those of its K nearest gallery tracklets, "average", or
# "weighted" by the similarity to the power of ALPHA; '' switches it off.
_C.TEST.QUERY_EXPANSION = ""
_C.TEST.QUERY_EXPANSION_K = 10
_C.TEST.QUERY_EXPANSION_ALPHA = 3.0
# Also report features to which those of their mutual nearest neighbours are added (Pose2ID, CVPR 2025, k1 = k2 = 2): in
# the "gallery" only, or on "both" sides, each by itself, which uses the whole query set; '' switches it off.
_C.TEST.MUTUAL_NEIGHBOURS = ""
# Also report features normalised by the mean and deviation of their camera (arXiv 2502.10195): statistics of the
# "gallery", or on "both" sides each side's own, which uses the whole query set; '' switches it off. Features of a
# camera that is unknown, or has fewer than two tracklets there, are normalised by all.
_C.TEST.CAMERA_NORMALIZATION = ""
# What CAMERA_NORMALIZATION takes statistics of: each "camera", or each "view" (aerial, ground).
_C.TEST.NORMALIZATION_GROUPS = "camera"
# Gallery tracklets that tracklet_rankings.csv lists for a query; 0 lists all. The challenge of AG-VPReID scores 20; its
# sample file lists 10.
_C.TEST.RANKING_LENGTH = 20
# People of each direction, those with the lowest average precision, for whom report.html shows what the network looked
# at in their worst query; 0 for none. A pair of clips takes about as long as ten clips of evaluation.
_C.TEST.NUM_MAPS = 8
# True also writes all distances, distmat*.npz, 4 bytes for each query and gallery tracklet before compression.
_C.TEST.SAVE_DISTANCES = False
# True keeps the features of both sides in features/ of the results folder, 4 bytes a number. The next evaluation into
# this folder reads them if weights, tracklets, paths of frames, settings and code are the same.
_C.TEST.KEEP_FEATURES = True
# Protocol of scoring: '' (the data set's own), "cross-camera", "all-cameras", "mars-official" (in MARS, queries then
# also stay in the gallery), "vreid-xfd". Every result names its protocol.
_C.TEST.PROTOCOL = ""
