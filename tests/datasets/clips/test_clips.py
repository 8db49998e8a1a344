import errno
import io
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from datasets.clips import decoding
from datasets.clips.clip_dataset import (
    ClipRequest,
    TrackletClips,
    consecutive_clips,
    sample_test_indices,
    sample_train_indices,
)
from datasets.clips.decoding import decode_frame
from datasets.tracklet import Tracklet
from utils import pictures
from utils.pictures import UnreadableFrameError

SIZE = (2, 3)


@pytest.fixture
def tracklets(tmp_path):
    """Two people; every pixel of frame i of tracklet n is 20 * n + i."""
    result = []
    for number, (num_frames, pid, camid) in enumerate([(7, 4, 1), (2, 9, 5), (20, 4, 5)]):
        paths = []
        for frame in range(num_frames):
            paths.append(str(tmp_path / f"t{number}" / f"{frame}.png"))
            Path(paths[-1]).parent.mkdir(exist_ok=True)
            Image.new("RGB", (4, 6), (20 * number + frame,) * 3).save(paths[-1])
        result.append(Tracklet(f"t{number}", tuple(paths), pid, camid, "ground", None))
    return result


def values(item):
    """The frames of an item, by the value of their first pixel."""
    return item["clips"][:, 0, 0, 0].tolist()


def test_hand_worked_indices():
    assert sample_test_indices(8, 4).tolist() == [0, 2, 4, 6]
    assert sample_test_indices(9, 4).tolist() == [0, 3, 6, 8]  # padded to 12; the last segment is all padding
    assert sample_test_indices(2, 4).tolist() == [0, 1, 1, 1]
    assert consecutive_clips(7, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 4]]
    assert consecutive_clips(5, 4).tolist() == [[0, 1, 2, 3], [4, 4, 4, 4]]
    assert consecutive_clips(2, 5).tolist() == [[0, 1, 0, 1, 0]]
    rng = np.random.default_rng(0)
    assert {index for _ in range(200) for index in sample_train_indices(20, 4, rng).tolist()} == set(range(20))


@given(num_frames=st.integers(1, 60), clip_length=st.integers(1, 12), num_clips=st.integers(1, 9))
def test_clips_are_spread_over_every_segment(num_frames, clip_length, num_clips):
    padded = list(range(num_frames)) + [num_frames - 1] * (-num_frames % clip_length)
    segments = np.array_split(padded, clip_length)
    clips = [sample_test_indices(num_frames, clip_length, clip, num_clips).tolist() for clip in range(num_clips)]
    assert clips[0] == sample_test_indices(num_frames, clip_length).tolist() == [segment[0] for segment in segments]
    places = [list(segments[0]).index(clip[0]) for clip in clips]
    for clip, place in zip(clips, places, strict=True):
        assert clip == [segment[place] for segment in segments]
    gaps = np.diff([*places, len(segments[0])])
    assert gaps.max() - gaps.min() <= 1
    drawn = sample_train_indices(num_frames, clip_length, np.random.default_rng(0))
    assert all(index in segment for index, segment in zip(drawn, segments, strict=True))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_decoding_resizes_as_torchvision(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    for file_format in ("PNG", "GIF", "BMP" if mode != "RGBA" else "WEBP"):  # whatever the file is called
        path = tmp_path / "frame.jpg"
        Image.fromarray(pixels).convert(mode).save(path, format=file_format)
        frame = decode_frame(str(path), (12, 8))
        assert frame.dtype == torch.uint8
        assert frame.is_contiguous()
        torch.testing.assert_close(frame, plain_pillow(path, [12, 8]))


@pytest.mark.parametrize(("largest", "shift"), [(200, 0), (1000, 2), (4000, 4), (16000, 6), (65535, 8)])
def test_grey_of_fewer_bits_is_scaled_by_its_range(tmp_path, largest, shift):
    Image.fromarray(np.array([[0, largest]], dtype=np.uint16)).save(tmp_path / "frame.png")
    assert decode_frame(str(tmp_path / "frame.png"), (1, 2))[0].tolist() == [[0, largest >> shift]]


def test_deep_colours_that_would_be_black_are_refused(tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head, path = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), tmp_path / "frame.png"
    for largest in (65535, 4095):
        rows = zlib.compress(b"\0" + np.full((2, 3), largest, ">u2").tobytes())
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
        if largest == 65535:
            assert decode_frame(str(path), (1, 2)).min() == 255
    with pytest.raises(UnreadableFrameError, match="fewer than its 16 bits"):
        decode_frame(str(path), (1, 2))


def plain_pillow(path, size_hw):
    with Image.open(path) as image:
        return TF.pil_to_tensor(TF.resize(image.convert("RGB"), size_hw, InterpolationMode.BILINEAR))


def smooth_picture(width, height):
    """Noise at several scales, as photographs have."""
    rng = np.random.default_rng(0)
    layers = [
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((width, height), 3)
        for side in (3, 9, 27, 81)
    ]
    return Image.fromarray(np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "size", [(60, 150), (200, 450), (300, 640), (361, 793), (400, 900), (801, 1803), (700, 200), (1, 1)]
)
def test_jpeg_frames_are_within_a_grey_level_of_pillow(tmp_path, size, mode):
    path = tmp_path / "frame.jpg"
    smooth_picture(*size).convert(mode).save(path, quality=90)
    frame = decode_frame(str(path), (288, 144))
    assert (frame.shape, frame.dtype) == ((3, 288, 144), torch.uint8)
    assert frame.is_contiguous()
    assert (frame.float() - plain_pillow(path, [288, 144]).float()).abs().mean() < 1


def test_a_jpeg_that_only_pillow_reads_is_read_as_before(tmp_path):
    path = tmp_path / "frame.jpg"
    # Whether Pillow misses the end marker depends on the picture: it does not with this seed.
    pixels = np.random.default_rng(6).normal(128, 50, (64, 64)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-2])  # without its end marker
    torch.testing.assert_close(decode_frame(str(path), (12, 8)), plain_pillow(path, [12, 8]))


def test_unreadable_frames_are_named(tmp_path):
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 50).save(whole)
    content, png = whole.read_bytes(), io.BytesIO()
    Image.effect_noise((64, 64), 50).save(png, format="PNG")
    (tmp_path / "folder.jpg").mkdir()
    broken = {"cut": content[:500], "half": content[: len(content) // 2], "nearly": content[:-50], "empty": b""}
    broken |= {
        "torn": content[: len(content) // 2] + bytes(len(content)),
        "zeros": content[:300] + bytes(500),
        "torn_png": png.getvalue()[:300] + bytes(500),
        "header": content[:3],
        "text": b"not a picture",
    }
    for name, data in broken.items():
        (tmp_path / f"{name}.jpg").write_bytes(data)
    for name in (*broken, "none", "folder"):
        with pytest.raises(UnreadableFrameError, match=f"Cannot read frame .*{name}.jpg"):
            decode_frame(str(tmp_path / f"{name}.jpg"), SIZE)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_frames_are_upright_as_exif_says(tmp_path, file_format):
    path, upright = tmp_path / "frame.jpg", smooth_picture(20, 30)
    exif = Image.Exif()
    for orientation, transposition in ((6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)):
        exif[pictures.ORIENTATION] = orientation
        upright.transpose(transposition).save(path, format=file_format, exif=exif.tobytes(), quality=100, subsampling=0)
        difference = decode_frame(str(path), (30, 20)).float() - TF.pil_to_tensor(upright).float()
        assert difference.abs().mean() < (0.001 if file_format == "PNG" else 3)
        assert pictures.read_size(str(path)) == (30, 20)
    if file_format == "JPEG":  # as some programs mark it in place of EXIF
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><x tiff:Orientation="3"/></x:xmpmeta>'
        upright.transpose(transposition).save(path, format=file_format, xmp=xmp, quality=100, subsampling=0)
        assert (decode_frame(str(path), (30, 20)).float() - TF.pil_to_tensor(upright).float()).abs().mean() < 3
        content = path.read_bytes()  # behind a large profile
        path.write_bytes(content[:2] + (b"\xff\xe2\xff\xff" + bytes(65533)) * 4 + content[2:])
        assert (decode_frame(str(path), (30, 20)).float() - TF.pil_to_tensor(upright).float()).abs().mean() < 3
    exif[pictures.ORIENTATION] = 9  # means nothing
    upright.save(path, format=file_format, exif=exif.tobytes())
    assert pictures.read_size(str(path)) == (30, 20)
    upright.save(path, format=file_format, exif=b"Exif\0\0damaged")
    plain = decode_frame(str(path), (30, 20))
    upright.save(path, format=file_format)
    assert torch.equal(decode_frame(str(path), (30, 20)), plain)
    assert pictures.read_size(str(path)) == (30, 20)


@pytest.mark.parametrize("error", [struct.error("short"), KeyError(7), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("decoder", ["_decode_jpeg", "_decode_with_pillow"])
def test_whatever_a_decoder_raises_is_an_unreadable_frame_but_no_interruption(tmp_path, monkeypatch, decoder, error):
    path = tmp_path / "frame.jpg"
    smooth_picture(20, 30).save(path, format="JPEG" if decoder == "_decode_jpeg" else "PNG")

    def fail(content, size_hw):
        raise error

    monkeypatch.setattr(decoding, decoder, fail)
    with pytest.raises(UnreadableFrameError if isinstance(error, Exception) else KeyboardInterrupt):
        decode_frame(str(path), (12, 8))


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    (tmp_path / "device.jpg").symlink_to(os.devnull)
    for name in ("pipe", "link", "device"):
        with pytest.raises(UnreadableFrameError, match=rf"{name}\.jpg: it is not a regular file"):
            decode_frame(str(tmp_path / f"{name}.jpg"), SIZE)
    with pytest.raises(UnreadableFrameError, match="null"):
        decode_frame(str(tmp_path / "null\0.jpg"), SIZE)


def test_several_test_clips_of_each_tracklet(tracklets):
    clips = TrackletClips(tracklets, SIZE, 4, "test", cameras={5: 0}, num_clips=2)
    items = [clips[i] for i in range(len(clips))]
    assert [item["tracklet"] for item in items] == [0, 0, 1, 1, 2, 2]
    assert [values(item) for item in items[::2]] == [[0, 2, 4, 6], [20, 21, 21, 21], [40, 45, 50, 55]]
    assert [values(item) for item in items[1::2]] == [[1, 3, 5, 6], [20, 21, 21, 21], [42, 47, 52, 57]]
    assert [(item["camid"], item["label"]) for item in items[::2]] == [(-1, -1), (0, -1), (0, -1)]
    assert (items[0]["clips"].shape, items[0]["clips"].dtype) == ((4, 3, *SIZE), torch.uint8)


def test_draws_depend_on_seed_epoch_and_position(tracklets):
    def draw(epoch=0, position=0, seed=0):
        return values(TrackletClips(tracklets, SIZE, 4, "train", seed=seed)[ClipRequest(2, epoch, position)])

    assert draw() == draw()
    assert len({tuple(draw(position=position)) for position in range(10)}) > 5
    assert len({tuple(draw(epoch=epoch)) for epoch in range(10)}) > 5
    assert len({tuple(draw(seed=seed)) for seed in range(10)}) > 5


def test_captures_stand_beside_the_camera_and_training_forgets_a_tenth_of_them(tracklets):
    tracklets[1] = replace(tracklets[1], view="aerial", altitude=80, angle=60)
    tracklets[2] = replace(tracklets[2], view="")
    tested = TrackletClips(tracklets, SIZE, 4, "test", cameras={5: 0}, with_captures=True)
    assert [item["camid"].tolist() for item in tested] == [[-1, 0, -1, -1], [0, 1, 80, 60], [0, -1, -1, -1]]
    trained = TrackletClips(tracklets, SIZE, 4, "train", cameras={5: 0}, with_captures=True)
    plain = TrackletClips(tracklets, SIZE, 4, "train", cameras={5: 0})
    requests = [ClipRequest(1, epoch, position) for epoch in range(20) for position in range(20)]
    facts = torch.stack([trained[request]["camid"] for request in requests])
    assert torch.equal(facts, torch.stack([trained[request]["camid"] for request in requests]))
    assert all(torch.equal(trained[request]["clips"], plain[request]["clips"]) for request in requests[:9])
    assert (facts[:, 0] == 0).all()
    assert ((facts == -1) | (facts == torch.tensor([0, 1, 80, 60]))).all()
    forgotten = (facts[:, 1:] == -1).float().mean(dim=0)  # of 400 each: a deviation is 0.015
    assert ((forgotten - 0.1).abs() < 0.05).all()


def test_draws_do_not_depend_on_workers(tracklets):
    clips = TrackletClips(tracklets, SIZE, 4, "train", seed=3)
    batches = [[ClipRequest(2, epoch, 0), ClipRequest(2, epoch, 1), ClipRequest(0, epoch, 2)] for epoch in range(3)]
    loaders = (DataLoader(clips, batch_sampler=batches, num_workers=num_workers) for num_workers in (0, 2))
    for alone, shared in zip(*loaders, strict=True):
        assert torch.equal(alone["clips"], shared["clips"])
        assert not torch.equal(alone["clips"][0], alone["clips"][1])  # one tracklet, drawn twice


def test_unreadable_frame_is_replaced_by_the_nearest(tracklets, caplog):
    for frame in (2, 3, 6):
        Path(tracklets[0].frame_paths[frame]).write_bytes(b"broken")
    clips = TrackletClips(tracklets, SIZE, 7, "test")
    for _ in range(2):
        assert values(clips[0]) == [0, 1, 1, 4, 4, 5, 5]
        assert clips[0]["unreadable"].tolist() == [-1, -1, 2, 3, -1, -1, 6]
    assert clips[2]["unreadable"].tolist() == [-1] * 7
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3  # once for each path
    assert tracklets[0].frame_paths[2] in messages[0]


def test_workers_share_what_is_unreadable(tracklets, caplog):
    Path(tracklets[0].frame_paths[2]).write_bytes(b"broken")
    clips = TrackletClips(tracklets[:1], SIZE, 7, "test")
    (batch,) = DataLoader(clips, num_workers=1)
    assert batch["unreadable"].tolist() == [[-1, -1, 2, -1, -1, -1, -1]]
    assert not caplog.records  # the warning was the worker's
    assert torch.equal(clips[0]["unreadable"], batch["unreadable"][0])
    assert not caplog.records  # known: neither tried nor warned of again


def test_tracklet_without_a_readable_frame_is_named(tracklets):
    for path in tracklets[1].frame_paths:
        Path(path).unlink()
    with pytest.raises(UnreadableFrameError, match=r"None of the 2 frames of tracklet .*t1 can be read"):
        TrackletClips(tracklets, SIZE, 4, "test")[1]


@pytest.mark.parametrize("tries", [2, 9])
def test_storage_that_is_away_is_asked_again_and_makes_no_frame_unreadable(tmp_path, monkeypatch, tries):
    path = tmp_path / "1.jpg"
    Image.new("RGB", (4, 8)).save(path)
    errors, pauses = [OSError(errno.EIO, "Input/output error")] * tries, []
    monkeypatch.setattr(pictures.time, "sleep", pauses.append)

    def open_late(*args):
        if errors:
            raise errors.pop()
        return open(*args)

    monkeypatch.setattr(pictures, "open", open_late, raising=False)
    if tries < len(pictures.PAUSES):
        assert decode_frame(str(path), (8, 4)).shape == (3, 8, 4)
        assert pauses == [1, 2]
    else:
        with pytest.raises(pictures.StorageAwayError, match=r"1\.jpg cannot be read, because storage is away"):
            decode_frame(str(path), (8, 4))
    assert not issubclass(pictures.StorageAwayError, UnreadableFrameError)
