"""Other people's weight files into a tiny ViT, and files that must be refused."""

import os
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from configs import get_cfg
from model import load_weights, make_model
from model.encoder import ClipVideoEncoder, build_vit
from model.weights import (
    CLASSIFIERS,
    PUBLISHED_UNUSED,
    load_clip_weights,
    to_published,
    unwrap,
)

# The projection is narrower than the tokens, so that a transposed one cannot pass unnoticed.
VIT = {"embed_dim": 64, "depth": 2, "num_heads": 1, "proj_dim": 24}
SIZE, STRIDE = (64, 32), (16, 16)
TEXT_TOWER = ("positional_embedding", "text_projection", "token_embedding.weight", "transformer.resblocks.0.ln_1.bias")
PARITY = {
    "xtfclip_288x144_t8": "configs/xtfclip_vit_b16_288x144.yml",
    "tfclip_256x128_t8": "configs/tfclip_vit_b16_256x128.yml",
}


@pytest.fixture
def vit():
    """A ViT like the tiny configuration's, whose values half precision holds exactly, none of them trivial."""
    vit = build_vit("vit_xsmall_patch16_clip_224", **VIT)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.copy_((0.1 * torch.randn_like(parameter)).half())
    return vit


@pytest.fixture
def model(tiny_cfg):
    return make_model(tiny_cfg(), num_classes=3, num_cameras=2)


def openai_state(vit):
    """The ViT in OpenAI's names, with the text tower that their files also hold."""
    state = {
        "visual.class_embedding": vit.cls_token.flatten(),
        "visual.positional_embedding": vit.pos_embed[0],
        "visual.proj": vit.head.weight.T,
        "visual.conv1.weight": vit.patch_embed.proj.weight,
        **{name: torch.zeros(2, 2) for name in TEXT_TOWER},
    }
    modules = {"ln_pre": vit.norm_pre, "ln_post": vit.norm}
    for i, block in enumerate(vit.blocks):
        prefix = f"transformer.resblocks.{i}"
        state[f"visual.{prefix}.attn.in_proj_weight"] = block.attn.qkv.weight
        state[f"visual.{prefix}.attn.in_proj_bias"] = block.attn.qkv.bias
        names = {"attn.out_proj": "attn.proj", "ln_1": "norm1", "ln_2": "norm2"}
        names |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
        modules |= {f"{prefix}.{theirs}": block.get_submodule(ours) for theirs, ours in names.items()}
    for name, module in modules.items():
        state |= {f"visual.{name}.weight": module.weight, f"visual.{name}.bias": module.bias}
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


class Archive(nn.Module):
    """Nested modules whose parameters have these dotted names."""

    def __init__(self, state):
        super().__init__()
        children = {}
        for name, value in state.items():
            head, _, rest = name.partition(".")
            if rest:
                children.setdefault(head, {})[rest] = value
            else:
                self.register_parameter(head, nn.Parameter(value))
        for head, part in children.items():
            self.add_module(head, Archive(part))

    def forward(self, x):
        return x


def timm_state(vit):
    return {k: v.detach().clone() for k, v in vit.state_dict().items()} | {"head.bias": torch.zeros(24)}


# open_clip saves training checkpoints of DataParallel models, among other things.
LAYOUTS = {
    "ViT-B-16.pt": lambda vit, path: torch.jit.trace(Archive(openai_state(vit)).half(), torch.zeros(1)).save(str(path)),
    "plain.pt": lambda vit, path: torch.save({k: v.half() for k, v in openai_state(vit).items()}, path),
    "open_clip.pt": lambda vit, path: torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in openai_state(vit).items()}}, path
    ),
    "timm.pth": lambda vit, path: torch.save(timm_state(vit), path),
    "timm.safetensors": lambda vit, path: save_file(timm_state(vit), path),
}


def make_encoder(**dimensions):
    return ClipVideoEncoder(build_vit("vit_xsmall_patch16_clip_224", **VIT | dimensions), SIZE, STRIDE, num_cameras=2)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_of_clip_gives_the_same_encoder(name, vit, tmp_path):
    path = tmp_path / name
    LAYOUTS[name](vit, path)
    encoder = make_encoder().eval()
    camera = encoder.camera_embedding.detach().clone()
    report = load_clip_weights(encoder, path)
    expected = ClipVideoEncoder(vit, SIZE, STRIDE).eval()
    clips = torch.randn(2, 1, 3, *SIZE)
    tokens = encoder(clips)
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(tokens, expected(clips))
    torch.testing.assert_close(encoder.project(tokens), expected.project(tokens))
    assert torch.equal(encoder.camera_embedding, camera)
    assert set(report.loaded) == set(expected.state_dict())
    assert set(report.ignored) == ({"head.bias"} if "timm" in name else set(TEXT_TOWER))


REFUSED = {  # changes of the file (None: removed), dimensions of the model, message
    "deeper than the model": ({}, {"depth": 1}, r"fit this run: it has blocks\.1\..* Change MODEL\.NAME"),
    "flatter than the model": ({}, {"depth": 3}, r"fit this run: it lacks blocks\.2\..* Change MODEL\.NAME"),
    "of another width": ({}, {"embed_dim": 128}, r"fit this run: .*\(1, 1, 64\) of floats, expected"),
    "no projection": ({"visual.proj": None}, {}, "fit this run: it lacks projection"),
    "an odd projection": ({"visual.proj": torch.ones(2, 3)}, {}, r"projection is \(2, 3\) of floats, expected"),
    "of another library": (
        {"visual.class_embedding": None, "vision_model.embeddings.class_embedding": torch.ones(2)},
        {},
        r"is not a CLIP file: .*Hugging Face's transformers, .* Take .* open_clip's file",
    ),
    "no ViT": ({"visual.class_embedding": None}, {}, r"is not a CLIP file.*got visual\.positional_embedding"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_is_not_this_clip_is_refused_in_words(what, vit, tmp_path):
    changes, dimensions, message = REFUSED[what]
    state = {name: value for name, value in (openai_state(vit) | changes).items() if value is not None}
    torch.save(state, tmp_path / "a.pt")
    encoder = make_encoder(**dimensions)
    before = encoder.projection.detach().clone()
    with pytest.raises(ValueError, match=rf"a\.pt.* {message}"):
        load_clip_weights(encoder, tmp_path / "a.pt")
    assert torch.equal(encoder.projection, before)


@pytest.mark.parametrize(
    ("name", "fits"),
    [("a_quickgelu.pt", False), ("ViT-B-16.openai.pt", False), ("laion2b.pt", True)]
    # Of files from a hub, the folder names the model.
    + [("vit_base.openai/snapshots/1/open_clip_model.pt", False), ("dfn2b/model.bin", False)]
    + [("metaclip-b16/open_clip_pytorch_model.bin", False), ("openai/mine.pt", True), ("laion/model.pt", True)],
)
def test_weights_of_another_activation_are_refused(name, fits, vit, tmp_path):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    torch.save(openai_state(vit), tmp_path / name)
    if fits:
        load_clip_weights(make_encoder(), tmp_path / name)
    else:
        with pytest.raises(ValueError, match=rf"{name} was trained with another activation than MODEL\.NAME"):
            load_clip_weights(make_encoder(), tmp_path / name)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("entry", ["model", "state_dict", "model_state_dict", "net", ""])
def test_wrapped_state_dicts_are_unwrapped(entry, prefix):
    state = {f"{prefix}{name}": torch.ones(1) for name in ("encoder.patch_embed.weight", "c")}
    others = {"averaged": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}}, "epoch": 3}
    found = unwrap({entry: state, **others} if entry else state)
    assert found.keys() == {"encoder.patch_embed.weight", "c"}


def test_networks_are_found_in_files_and_modules_of_other_programs():
    network = {"encoder.patch_embed.weight": torch.ones(1), "b": torch.zeros(1)}
    optimizer = {"state": {0: {"exp_avg": torch.ones(1)}}}
    inside = {f"lit.student.{name}": value for name, value in network.items()} | {"criterion.centers": torch.ones(1)}
    clip = {f"clip.{name}": torch.ones(1) for name in ("visual.class_embedding", "logit_scale")}
    for content, expected in (
        ({"weights": network, "optimizer": optimizer}, network),
        ({"run": {"params": network}, "epoch": 3}, network),
        ({"state_dict": inside}, network),
        ({"anything": {f"module.{name}": value for name, value in network.items()}}, network),
        (clip, {"visual.class_embedding", "logit_scale"}),
    ):
        assert unwrap(content).keys() == dict.fromkeys(expected).keys()
    assert not unwrap({"student": network, "teacher": network}).keys() & network.keys()  # nobody says which


class Malicious:
    """Unpickling this makes a folder."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


def test_a_malicious_pickle_is_refused_and_not_run(model, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "evil.pth"
    torch.save({"model": Malicious(victim)}, path)
    for load, target in ((load_weights, model), (load_clip_weights, model.encoder)):
        with pytest.raises(ValueError, match=r"evil\.pth was refused"):
            load(target, path)
    assert not victim.exists()
    pickle.loads(pickle.dumps(Malicious(victim)))  # the pickle was indeed malicious
    assert victim.exists()


class RunsOnLoading(nn.Module):
    """A TorchScript module whose ``__setstate__`` is called by whoever loads it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.zeros(1)

    @torch.jit.export
    def __getstate__(self):
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.weight = state[0] + 1.0
        self.training = state[1]

    def forward(self):
        return self.weight


def test_a_torchscript_archive_that_would_run_code_is_refused(model, tmp_path):
    path = tmp_path / "evil.pt"
    torch.jit.script(RunsOnLoading()).save(str(path))
    assert torch.jit.load(str(path))().item() == 1.0  # loading did run it
    with pytest.raises(ValueError, match=r"evil\.pt was refused"):
        load_clip_weights(model.encoder, path)
    with pytest.raises(ValueError, match=r"evil\.pt was refused"):
        load_weights(model, path)


def publish(state):
    """A published checkpoint of our state, with DataParallel's prefix."""
    return {f"module.{name}": value for name, value in to_published(state).items()}


@pytest.mark.parametrize("name", PARITY)
def test_our_published_layout_has_the_names_and_shapes_of_the_published_checkpoint(read_fixture, name):
    fixture = read_fixture(name)
    with torch.device("meta"):
        cfg = get_cfg(PARITY[name], ["MODEL.PRETRAINED", "False"])
        model = make_model(cfg, fixture["num_classes"], fixture["num_cameras"], pretrained=False)
        published = to_published(model.state_dict())
    assert {name: list(value.shape) for name, value in published.items()} == fixture["keys"]


def store_transposed(state):
    """A checkpoint of ours of before the projection was stored as in CLIP: (P, D), under another name."""
    rest = {name: value for name, value in state.items() if name != "encoder.projection"}
    return {"model": {**rest, "encoder.projection.weight": state["encoder.projection"].T.contiguous()}}


@pytest.mark.parametrize("store", [publish, store_transposed, lambda state: {"model": state}, dict])
def test_a_checkpoint_loads_whole(store, model, tiny_cfg, tmp_path, assert_same):
    source = make_model(tiny_cfg(), 3, 2)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.normal_()
    torch.save(store(source.state_dict()), tmp_path / "a.pth")
    report = load_weights(model, tmp_path / "a.pth")
    assert_same(dict(model.state_dict()), dict(source.state_dict()))
    assert set(report.loaded) == set(model.state_dict())
    assert set(report.ignored) == (set(PUBLISHED_UNUSED) if store is publish else set())
    assert not report.skipped


@pytest.mark.parametrize("published", [False, True])
def test_other_classes_and_cameras_are_skipped_and_reported(published, model, tiny_cfg, tmp_path, caplog):
    state = make_model(tiny_cfg(), num_classes=5, num_cameras=4).state_dict()
    torch.save(publish(state) if published else state, tmp_path / "a.pth")
    classifier = model.classifier_image.weight.detach().clone()
    report = load_weights(model, tmp_path / "a.pth")
    assert set(report.skipped) == {*CLASSIFIERS, "encoder.camera_embedding"}
    assert report.skipped["classifier_image.weight"] == "5 rows in the file, 3 in the model"
    assert "3 skipped (5 rows in the file, 3 in the model): classifier_image.weight" in caplog.text
    assert torch.equal(model.classifier_image.weight, classifier)
    assert not model.encoder.camera_embedding.any()  # every camera counts as unknown
    assert torch.equal(model.encoder.projection, state["encoder.projection"])


def test_training_starts_from_another_runs_weights_which_may_lack_classifiers(model, tiny_cfg, tmp_path, caplog):
    other = {name: value for name, value in model.state_dict().items() if name not in CLASSIFIERS}
    torch.save(other, tmp_path / "a.pth")
    started = make_model(tiny_cfg("MODEL.INIT_WEIGHT", tmp_path / "a.pth"), num_classes=3, num_cameras=2)
    assert "3 skipped (not in the file): classifier_image.weight" in caplog.text
    assert all(torch.equal(started.state_dict()[name], value) for name, value in other.items())
    assert started.classifier_image.weight.std() > 0  # it is drawn


def test_training_may_add_ingredients_to_the_weights_that_it_starts_from(tiny_cfg, tmp_path, caplog):
    """Evaluation may not, as untrained prompts would describe people."""
    plain, path = make_model(tiny_cfg("LOSS.MEMORY", "proxies"), 3, 2), tmp_path / "a.pth"
    torch.save(plain.state_dict(), path)
    model = make_model(tiny_cfg("MODEL.INIT_WEIGHT", path, "MODEL.VIEW_PROMPTS", 2), 3, 2)
    assert "skipped (not in the file): memory_weight, encoder.view_prompts.rows, memory_prompt." in caplog.text
    assert all(torch.equal(model.state_dict()[name], value) for name, value in plain.state_dict().items())
    assert model.encoder.view_prompts.rows.std() > 0
    with pytest.raises(ValueError, match=r"a\.pth does not fit this run: it lacks memory_weight, and"):
        load_weights(model, path)


ODD_TENSORS = {
    "of integers": (lambda value: value.long(), r" is .* of int64, expected .* of floats"),
    "not a number": (lambda value: value * torch.nan, " holds NaN or infinity"),
    "sparse": (lambda value: value.to_sparse(), ""),
    "no tensor": (lambda value: value.tolist(), ""),
}


@pytest.mark.filterwarnings("ignore:.*sparse:UserWarning")
@pytest.mark.parametrize("oddity", ODD_TENSORS)
def test_an_odd_tensor_is_named_with_its_file(oddity, model, tmp_path, assert_same):
    (change, message), name = ODD_TENSORS[oddity], "encoder.projection"
    state = model.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    torch.save({"model": {**state, name: change(state[name])}}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=rf"odd\.pth does not fit this run: .*{name}{message}"):
        load_weights(model, tmp_path / "odd.pth")
    assert_same(dict(model.state_dict()), before)


def test_without_a_network_the_message_says_what_to_do(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("cannot reach the hub\nsecond line")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(FileNotFoundError, match=r"cannot reach the hub") as caught:
        make_model(get_cfg(), 3, 2)
    for words in ("MODEL.NAME ViT-B-16", "MODEL.PRETRAIN_PATH ViT-B-16.pt", "MODEL.PRETRAINED False"):
        assert words in str(caught.value)
    assert "second line" not in str(caught.value)
