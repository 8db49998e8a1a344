"""The network: computes descriptors of clips at test time, and everything that the losses need in training."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from utils.mistake import Mistake
from utils.processes import ALONE
from utils.roles import ParameterRole

from .encoder import ClipVideoEncoder
from .layers import make_classifier, make_neck, make_pool
from .memory_prompt import SequenceSpecificPrompt
from .temporal_memory import TemporalMemoryDiffusion

MEMORY_WEIGHT_START = 0.5  # before its sigmoid, so the share of memory starts at 0.622


@dataclass(frozen=True)
class TrainingOutput:
    """Outputs of one training batch for the losses."""

    id_logits: list[Tensor]  # three tensors (B, K), of f_img, f_proj and f_tmp, after the neck
    frame_logits: Tensor  # (B*T, K), of the temporal feature of every frame, after the neck
    features: list[Tensor]  # f_img (B, D), f_proj (B, P), f_tmp (B, D), before the neck
    memory_logits: Tensor  # (B, K), similarity of f_proj to the refined memory of every identity; (B, 0) without prompt

    def detach(self) -> "TrainingOutput":
        """Return the same numbers without their gradients."""
        return TrainingOutput(
            id_logits=[logits.detach() for logits in self.id_logits],
            frame_logits=self.frame_logits.detach(),
            features=[feature.detach() for feature in self.features],
            memory_logits=self.memory_logits.detach(),
        )


class XTFCLIP(nn.Module):
    """X-TFCLIP; with its extras switched off, TF-CLIP.

    There are K training identities; the encoder's widths are D and P. The choices are explained in
    configs/defaults.py; ``descriptor`` is TEST.NECK_FEAT. Without a ``prompt``, memory logits are empty.

    Reference: AG-VPReID 2025 challenge report, arXiv 2506.22843; TF-CLIP, AAAI 2024; docs/method.md sections 1 to 5.
    """

    def __init__(
        self,
        encoder: ClipVideoEncoder,
        num_classes: int,
        pooling: str = "attention",
        neck: str = "instance",
        memory_weighting: bool = True,
        prompt: bool = True,
        prompt_dropout: float = 0.1,
        descriptor: str = "before",
        id_scale: float = 0.0,
        heads: str = "separate",
    ):
        super().__init__()
        D, P = encoder.width, encoder.projected_width
        self.encoder = encoder
        self.temporal_memory = TemporalMemoryDiffusion(D, encoder.num_heads)
        self.memory_prompt = SequenceSpecificPrompt(P, dropout=prompt_dropout) if prompt else None
        self.memory_weight = nn.Parameter(torch.full((), MEMORY_WEIGHT_START)) if prompt and memory_weighting else None
        self.pool_image = make_pool(pooling, D)
        self.pool_projected = make_pool(pooling, P)
        self.pool_tokens = make_pool(pooling, D)
        self.pool_frames = make_pool(pooling, D)
        self.pool_video = make_pool(pooling if prompt else "mean", P)  # only the prompt reads it
        self.neck_image = make_neck(neck, D)
        self.neck_projected = make_neck(neck, P)
        self.neck_temporal = make_neck(neck, D)
        self.neck_frame = make_neck(neck, D)
        self.classifier_image = make_classifier(D, num_classes, id_scale)
        self.classifier_projected = make_classifier(P, num_classes, id_scale)
        # Without one, f_tmp has that of f_img.
        self.classifier_temporal = make_classifier(D, num_classes, id_scale) if heads == "separate" else None
        self.descriptor = descriptor
        # Joins what the processes of a run computed from their slices of a training batch.
        self.gather_batch: Callable[..., tuple[Tensor, ...]] = ALONE.gather_batch

    @property
    def num_cameras(self) -> int:
        """Rows of the camera embedding; 0 if it is switched off."""
        return 0 if self.encoder.camera_embedding is None else len(self.encoder.camera_embedding)

    @property
    def feature_widths(self) -> tuple[int, int, int]:
        """Widths of f_img, f_proj and f_tmp."""
        return self.encoder.width, self.encoder.projected_width, self.encoder.width

    @property
    def descriptor_width(self) -> int:
        """Numbers of a test descriptor."""
        return sum(self.feature_widths[: 3 if self.descriptor == "before" else 2])

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Choose whether training keeps only the inputs of the large blocks, and computes the rest again."""
        for module in (self.encoder, self.temporal_memory, self.memory_prompt):
            if module is not None:
                module.gradient_checkpointing = enabled

    def parameter_roles(self) -> dict[str, ParameterRole]:
        """Return the role of every parameter, for its learning rate and weight decay."""
        roles = {f"encoder.{name}": role for name, role in self.encoder.parameter_roles().items()}
        for name, _ in self.named_parameters():
            module = name.split(".")[0]
            if module == "classifier_temporal":
                roles[name] = ParameterRole("temporal head")
            elif module.startswith(("classifier_", "neck_")):
                roles[name] = ParameterRole("head")
            elif module == "memory_prompt":
                roles[name] = ParameterRole("prompt")
            elif module != "encoder":
                roles[name] = ParameterRole("new")
        return roles

    def forward(
        self, clips: Tensor, camids: Tensor | None = None, memory: Tensor | None = None
    ) -> Tensor | TrainingOutput:
        """Compute descriptors (eval mode) or everything that the losses need (training mode).

        With several processes, encoder, temporal modules and prompt see this process's slice of a training batch;
        necks, classifiers and losses see the whole batch in every process.

        Clips, (B, T, C, H, W), and cameras, (B,), are as in ``ClipVideoEncoder.forward``; only training needs CLIP
        memory, (K, P). Descriptors are (B, 2D + P), or (B, D + P) after the neck.
        """
        if not self.training:
            return self.describe(clips, camids)
        if memory is None:
            raise Mistake("A training forward needs the CLIP memory (K, P) of the training identities.")
        T = clips.shape[1]
        tokens = self.encoder(clips, camids)  # (B*T, N, D)
        projected = self.encoder.project(tokens).unflatten(0, (-1, T))  # (B, T, N, P)
        f_img = self.pool_image(tokens[:, 0].unflatten(0, (-1, T)))  # (B, D)
        f_proj = self.pool_projected(projected[:, :, 0])  # (B, P)
        # The encoder learns nothing from these (docs/method.md section 3).
        f_frames, f_tmp = self.encode_temporal(tokens.detach(), T)
        memory_logits = self.compare_with_memory(f_proj, projected, memory)
        f_img, f_proj, f_tmp, f_frames, memory_logits = self.gather_batch(
            f_img, f_proj, f_tmp, f_frames.unflatten(0, (-1, T)), memory_logits
        )
        classify_temporal = self.classifier_temporal or self.classifier_image
        return TrainingOutput(
            id_logits=[
                self.classifier_image(self.neck_image(f_img)),
                self.classifier_projected(self.neck_projected(f_proj)),
                classify_temporal(self.neck_temporal(f_tmp)),
            ],
            frame_logits=classify_temporal(self.neck_frame(f_frames.flatten(0, 1))),
            features=[f_img, f_proj, f_tmp],
            memory_logits=memory_logits,
        )

    def describe(self, clips: Tensor, camids: Tensor | None = None) -> Tensor:
        """Compute test descriptors, [f_img, f_proj, f_tmp], or after the neck [neck(f_img), neck(f_proj)]."""
        T = clips.shape[1]
        tokens = self.encoder(clips, camids)
        class_tokens = tokens[:, 0].unflatten(0, (-1, T))  # (B, T, D)
        f_img = self.pool_image(class_tokens)
        f_proj = self.pool_projected(self.encoder.project(class_tokens))
        if self.descriptor == "after":
            return torch.cat([self.neck_image(f_img), self.neck_projected(f_proj)], dim=1)
        _, f_tmp = self.encode_temporal(tokens, T)
        return torch.cat([f_img, f_proj, f_tmp], dim=1)

    def encode_temporal(self, tokens: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """Compute temporal features of frames (B*T, D) and of clips (B, D) from tokens (B*T, N, D)."""
        diffused = self.temporal_memory(tokens, num_frames)
        f_frames = self.pool_tokens(diffused)
        return f_frames, self.pool_frames(f_frames.unflatten(0, (-1, num_frames)))

    def compare_with_memory(self, f_proj: Tensor, projected: Tensor, memory: Tensor) -> Tensor:
        """Compare features with the memory of every identity, refined by the video.

        Logits, (B, K), of f_proj (B, P) and memory (K, P) by projected tokens (B, T, N, P) are scalar products, without
        normalisation or temperature.
        """
        if self.memory_prompt is None:
            return f_proj.new_empty(len(f_proj), 0)
        prompt = self.memory_prompt(memory, self.pool_video(projected))  # (B, K, P)
        if self.memory_weight is None:
            refined = memory + prompt
        else:
            weight = self.memory_weight.sigmoid()
            refined = weight * memory + (1 - weight) * prompt
        # Not as a matrix product, which autocast would compute in 16 bits: near 100, fp16 has steps of 0.06.
        return (f_proj.float().unsqueeze(1) * refined.float()).sum(dim=-1)

    def encode_memory(self, clips: Tensor) -> Tensor:
        """Compute the features (B, P) that CLIP memory is built from, without camera and frame embeddings."""
        tokens = self.encoder.encode_frames(clips.flatten(0, 1))
        return self.encoder.project(tokens[:, 0]).unflatten(0, (-1, clips.shape[1])).mean(dim=1)
