"""Adapters and low-rank changes: they start without effect, are all that is trained, and merge."""

import pytest
import torch

from model import load_weights, make_model
from model.tuning import merge_tuning

KINDS = ["adapter", "lora"]


@pytest.fixture
def clips():
    return torch.randn(2, 4, 3, 64, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_they_start_without_effect_and_are_all_of_the_encoder_that_is_trained(tiny_cfg, clips, kind):
    model, tuned = make_model(tiny_cfg(), 3, 2).eval(), make_model(tiny_cfg("MODEL.TUNING", kind), 3, 2)
    missing, unexpected = tuned.load_state_dict(model.state_dict(), strict=False)
    assert unexpected == []
    assert all("tuned_" in name for name in missing)
    torch.testing.assert_close(tuned.eval()(clips), model(clips))
    trained = {name for name, parameter in tuned.encoder.named_parameters() if parameter.requires_grad}
    new = {"camera_embedding", "frame_embedding"}
    assert trained == new | {name.removeprefix("encoder.") for name in missing}
    assert {tuned.parameter_roles()[name].module for name in missing} == {"new"}
    output = tuned.train()(clips, None, memory=torch.randn(3, model.encoder.projected_width))
    output.features[0].square().sum().backward()
    ends = [name for name in missing if "tuned_up" in name]  # the gradient of what comes before is 0 at the start
    assert all(tuned.get_parameter(name).grad.abs().sum() > 0 for name in ends)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_that_are_frozen_are_not_tuned(tiny_cfg, kind):
    encoder = make_model(tiny_cfg("MODEL.TUNING", kind, "MODEL.FREEZE_BLOCKS", 1), 3, 2).encoder
    tuned = {name.split(".")[1] for name, own in encoder.named_parameters() if own.requires_grad and "tuned_" in name}
    assert tuned == {"1"}


@pytest.mark.parametrize("kind", KINDS)
def test_tuning_goes_on_from_other_weights_and_is_never_left_out(tiny_cfg, clips, kind, tmp_path):
    model, tuned = make_model(tiny_cfg(), 3, 2).eval(), make_model(tiny_cfg("MODEL.TUNING", kind), 3, 2).eval()
    for own, name in ((model, "full.pth"), (tuned, "tuned.pth")):
        torch.save(own.state_dict(), tmp_path / name)
    report = load_weights(tuned, tmp_path / "full.pth")
    assert all("tuned_" in name for name in report.skipped)
    torch.testing.assert_close(tuned(clips), model(clips))
    with pytest.raises(ValueError, match=r"tuned_.*: set MODEL\.TUNING as it was trained with"):
        load_weights(model, tmp_path / "tuned.pth")


@pytest.mark.parametrize("kind", KINDS)
def test_merged_low_rank_changes_describe_as_before(tiny_cfg, clips, kind):
    model = make_model(tiny_cfg("MODEL.TUNING", kind), 3, 2).eval()
    before = model(clips)
    for name, parameter in model.named_parameters():
        if "tuned_up" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    changed = model(clips)
    assert (changed - before).abs().max() > 0.01
    merge_tuning(model.encoder)
    torch.testing.assert_close(model(clips), changed, atol=1e-5, rtol=1e-4)
    plain = make_model(tiny_cfg("MODEL.TUNING", "full" if kind == "lora" else kind), 3, 2)
    assert plain.state_dict().keys() == model.state_dict().keys()
