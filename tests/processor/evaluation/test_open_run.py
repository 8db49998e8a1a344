"""A trained run is opened by one call."""

from types import SimpleNamespace

import pytest
import torch

from configs import dump_config, get_cfg
from configs.load import BEST_CHECKPOINT, LAST_CHECKPOINT, locate_checkpoint
from model import make_model
from processor.evaluation.open_run import load_trained
from utils.checkpoint import read_checkpoint


@pytest.fixture
def cfg(set_up, tmp_path):
    """The config of a run in ``tmp_path`` whose checkpoint was trained with mean pooling."""
    parts = set_up("MODEL.POOLING", "mean", "OUTPUT_DIR", tmp_path)
    parts.state.save(tmp_path / LAST_CHECKPOINT)
    return parts.cfg


def with_keys(cfg, *opts):
    changed = cfg.clone()
    changed.defrost()
    changed.merge_from_list(opts)
    return changed


def test_the_last_checkpoint_is_evaluated_unless_another_is_asked_for(tmp_path):
    def locate(weight):
        return locate_checkpoint(get_cfg(opts=["OUTPUT_DIR", str(tmp_path), "TEST.WEIGHT", weight]))

    other = tmp_path / "other.pth"
    for weight, message in (
        ("", r"\.pth is not there: train first .*train_main\.py"),
        (str(other), r"there \(--weight"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            locate(weight)
    (tmp_path / LAST_CHECKPOINT).write_text("")
    with pytest.raises(FileNotFoundError, match=rf"{BEST_CHECKPOINT} is not there: .* holds people out"):
        locate("best")
    (tmp_path / BEST_CHECKPOINT).write_text("")
    other.write_text("")
    names = {"": LAST_CHECKPOINT, "last": LAST_CHECKPOINT, "best": BEST_CHECKPOINT, str(other): other.name}
    assert {weight: locate(weight).name for weight in names} == names


def test_the_record_holds_model_cameras_and_origin(cfg, tmp_path):
    trained = load_trained(cfg)
    assert not trained.model.training
    assert {parameter.device.type for parameter in trained.model.parameters()} == {"cpu"}
    assert trained.camids == (0, 4)
    assert (trained.checkpoint, trained.cfg) == (tmp_path / LAST_CHECKPOINT, cfg)
    assert {name: trained.origin[name] for name in ("checkpoint", "data", "model")} == {
        "checkpoint": f"{tmp_path / LAST_CHECKPOINT} (the last, after epoch 0)",
        "data": f"agvpreid in {cfg.DATASETS.ROOT_DIR}",
        "model": cfg.MODEL.NAME,
    }
    saved = torch.load(tmp_path / LAST_CHECKPOINT, weights_only=True)["model"]
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, saved[name]), name
    dataset = trained.read_dataset()
    assert dataset.train == ()  # the checkpoint names its cameras
    assert trained.cameras_for(dataset) == {0: 0, 4: 1}
    changes = ("TEST.FLIP", False, "TEST.NUM_CLIPS", 3, "SOLVER.STAGE2.BASE_LR", 1.0)
    origin = load_trained(with_keys(cfg, *changes)).origin
    assert origin["settings"].startswith("those of the recipe but for MODEL.NAME vit_xsmall_patch16_clip_224 ")
    assert origin["settings"].endswith("TEST.NUM_CLIPS 3 TEST.FLIP False")
    assert "SOLVER.STAGE2.BASE_LR 0.001" in origin["training settings"]  # as it was trained


def test_cameras_of_another_data_set_are_unknown(cfg, tmp_path, caplog):
    """The numbers of MARS's cameras are those of AG-VPReID's, too, but not the cameras."""
    opts = ["OUTPUT_DIR", str(tmp_path), "DATASETS.NAMES", "mars"]
    trained = load_trained(cfg, opts)
    assert trained.cameras_for(SimpleNamespace(train=())) == {}
    (message,) = [text for text in caplog.messages if "unknown" in text]
    assert message.startswith("The checkpoint was trained on agvpreid, whose cameras are not those of mars")
    caplog.clear()
    trained = load_trained(cfg, [*opts, "TEST.CAMERA_MAP", "1:4,2:0,3:4"])
    assert trained.cameras_for(SimpleNamespace(train=())) == {1: 1, 2: 0, 3: 1}
    assert "unknown" not in caplog.text
    assert "TEST.CAMERA_MAP 1:4,2:0,3:4" in trained.origin["settings"]
    trained = load_trained(cfg, [*opts, "TEST.CAMERA_MAP", "0:0,1:5"])
    with pytest.raises(ValueError, match=r"TEST\.CAMERA_MAP names training camera 5; those of the model are 0, 4"):
        trained.cameras_for(SimpleNamespace(train=()))


def test_named_cameras_are_known_by_their_words(cfg, tmp_path, caplog):
    content = torch.load(tmp_path / LAST_CHECKPOINT, weights_only=True)
    torch.save({**content, "camera_words": ["north", "west"]}, tmp_path / LAST_CHECKPOINT)
    dataset = SimpleNamespace(train=(), camera_words={0: "West", 1: "east", 2: "north"})
    assert load_trained(cfg).cameras_for(dataset) == {0: 1, 1: -1, 2: 0}
    assert "Cameras that nobody trained on count as unknown: east." in caplog.messages


def test_weights_without_classifiers_are_evaluated(cfg, tmp_path, caplog):
    model = make_model(cfg, 4, 2)
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier")}
    torch.save(state, tmp_path / "other.pth")
    trained = load_trained(with_keys(cfg, "TEST.WEIGHT", str(tmp_path / "other.pth")))
    clips = torch.rand(2, 4, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(trained.model(clips, None), model.eval()(clips, None))
    assert "not in the file" in caplog.text


@pytest.mark.parametrize(
    ("cameras", "expected", "warning"),
    [
        (2, {0: 0, 4: 1}, None),
        (3, {}, "has 3 cameras and the training split 2: every camera counts as unknown"),
        (2, {}, "the training split cannot be read"),
    ],
)
def test_other_weights_take_the_cameras_of_the_training_split(
    cameras, expected, warning, cfg, make_tree, tmp_path, caplog
):
    torch.save(make_model(cfg, 4, cameras).state_dict(), tmp_path / "other.pth")
    root = make_tree(train=()) if warning and "cannot be read" in warning else cfg.DATASETS.ROOT_DIR
    opts = ("TEST.WEIGHT", str(tmp_path / "other.pth"), "DATASETS.ROOT_DIR", str(root))
    trained = load_trained(with_keys(cfg, *opts))
    assert trained.camids is None
    dataset = trained.read_dataset()
    assert dataset.cases
    assert trained.cameras_for(dataset) == expected
    assert warning in caplog.text if warning else "unknown" not in caplog.text


def test_the_checkpoints_own_configuration_takes_the_place_of_the_given_one(cfg, tmp_path, caplog):
    given = get_cfg(opts=["OUTPUT_DIR", str(tmp_path)])
    trained = load_trained(given, overrides=["OUTPUT_DIR", str(tmp_path), "TEST.FLIP", "False"])
    assert (trained.cfg.MODEL.POOLING, trained.cfg.MODEL.NAME) == ("mean", cfg.MODEL.NAME)
    assert trained.cfg.TEST.FLIP is False
    assert "never trained" not in caplog.text
    other = with_keys(cfg, "MODEL.POOLING", "attention")
    content = torch.load(tmp_path / LAST_CHECKPOINT, weights_only=True)
    torch.save({**content, "model": make_model(other, 4, 2).state_dict()}, tmp_path / LAST_CHECKPOINT)
    for changed, overrides in ((other, None), (given, ["OUTPUT_DIR", str(tmp_path), "MODEL.POOLING", "attention"])):
        caplog.clear()
        assert load_trained(changed, overrides).cfg.MODEL.POOLING == "attention"
        assert "MODEL.POOLING is attention here, but the checkpoint was trained with mean" in caplog.text


def test_validation_people_who_may_have_been_trained_on_are_named(cfg, caplog):
    for fraction, split, number in ((0.5, "test", 0), (0.0, "validation", 0), (0.5, "validation", 1)):
        caplog.clear()
        load_trained(with_keys(cfg, "DATASETS.VALIDATION_FRACTION", fraction, "DATASETS.EVAL_SPLIT", split))
        assert caplog.text.count("VALIDATION_FRACTION is 0.5 here, but was 0.0 in training: people") == number


def test_an_edited_config_beside_the_checkpoint_has_no_effect_and_is_named(cfg, tmp_path, caplog):
    caplog.set_level("INFO")
    opts = ["OUTPUT_DIR", str(tmp_path), "TEST.NUM_CLIPS", "3"]
    file, text = tmp_path / "config.yml", dump_config(cfg)
    for content, warning in ((text, ""), (text.replace("FLIP: true", "FLIP: false"), "TEST.FLIP False (True in the")):
        caplog.clear()
        file.write_text(content)
        opened = load_trained(get_cfg(file, opts), opts).cfg
        assert (opened.TEST.FLIP, opened.TEST.NUM_CLIPS) == (True, 3)
        assert f"The configuration is that in {tmp_path / LAST_CHECKPOINT}" in caplog.text
        assert warning in caplog.text if warning else "without effect" not in caplog.text
    assert f"{file} differs, without effect: TEST.FLIP False (True in the checkpoint)." in caplog.text


def test_weights_without_a_config_say_whose_they_take(cfg, tmp_path, caplog):
    torch.save(make_model(cfg, 4, 2).state_dict(), tmp_path / "other.pth")
    opts = ["OUTPUT_DIR", str(tmp_path), "TEST.WEIGHT", str(tmp_path / "other.pth")]
    given = with_keys(cfg, *opts)
    for source in ("the winner's recipe", tmp_path / "config.yml"):
        assert load_trained(given, opts).cfg is given
        assert f"other.pth holds no configuration, so that of {source} is used" in caplog.text
        (tmp_path / "config.yml").write_text(dump_config(cfg))


def test_weights_alone_are_evaluated_as_the_checkpoint_beside_them(set_up, tmp_path):
    parts = set_up("MODEL.POOLING", "mean", "OUTPUT_DIR", tmp_path)
    parts.state.with_weights = True
    parts.state.save(tmp_path / LAST_CHECKPOINT)
    weights = tmp_path / "weights_last.safetensors"
    overrides = ["TEST.WEIGHT", str(weights), "OUTPUT_DIR", "elsewhere"]
    trained = load_trained(get_cfg(opts=overrides), overrides)
    assert (trained.camids, trained.cfg.MODEL.POOLING) == ((0, 4), "mean")
    for name, value in parts.state.model.state_dict().items():
        assert torch.equal(trained.model.state_dict()[name], value), name
    with pytest.raises(ValueError, match=r"weights_last\.safetensors holds weights only"):
        parts.state.restore(read_checkpoint(weights), weights)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("config", 5, "does not fit this run: "),
        ("config", "MODEL:\n  POOLING: max\n", r"MODEL\.POOLING must be one of attention, mean, got 'max'"),
        ("camids", 4, "does not fit this run: 'int' object is not iterable"),
        ("model", {"classifier_image.weight": torch.tensor(1.0)}, "does not fit this run: "),
    ],
)
def test_an_odd_entry_is_named_with_its_file(entry, value, message, cfg, tmp_path):
    path = tmp_path / LAST_CHECKPOINT
    torch.save({**torch.load(path, weights_only=True), entry: value}, path)
    with pytest.raises(ValueError, match=message) as caught:
        load_trained(cfg, [])
    assert str(path) in str(caught.value)


def test_averaged_weights_are_opened_on_request_only(set_up, tmp_path):
    parts = set_up("SOLVER.STAGE2.EMA_DECAY", 0.5, "OUTPUT_DIR", tmp_path)
    averaged = parts.state.averaged.module.pool_image
    with torch.no_grad():
        for parameter in averaged.parameters():
            parameter += 1
    parts.state.save(tmp_path / LAST_CHECKPOINT)
    for wanted, expected in ((False, parts.state.model.pool_image), (True, averaged)):
        trained = load_trained(with_keys(parts.cfg, "TEST.AVERAGED_WEIGHTS", wanted))
        for opened, value in zip(trained.model.pool_image.parameters(), expected.parameters(), strict=True):
            assert torch.equal(opened, value)
        assert ("TEST.AVERAGED_WEIGHTS True" in trained.origin["settings"]) == wanted
    saved = torch.load(tmp_path / LAST_CHECKPOINT, weights_only=True)
    del saved["averaged"]
    torch.save(saved, tmp_path / LAST_CHECKPOINT)
    with pytest.raises(ValueError, match=r"checkpoint_last\.pth holds no averaged weights.*TEST\.AVERAGED_WEIGHTS"):
        load_trained(with_keys(parts.cfg, "TEST.AVERAGED_WEIGHTS", True))
