from benchmarks.memory_batches import RandomClips, draw_lengths, run


def test_batches_of_one_tracklet_hold_every_clip_once():
    clips = RandomClips([9, 8, 40], clip_length=8, size=(16, 16))
    assert len(clips) == 2 + 1 + 5
    assert list(clips.batches_of_one_tracklet(3)) == [[0, 1], [2], [3, 4, 5], [6, 7]]
    assert [clips[index]["tracklet"] for index in range(8)] == [0, 0, 1, 2, 2, 2, 2, 2]


def test_lengths_come_from_the_table(shared):
    lengths = draw_lengths(shared / "data/mars_info/tracks_train_info.mat", 500, 0)
    assert 50 < sum(lengths) / 500 < 70  # 8,298 tracklets with 509,914 frames
    assert min(lengths) >= 1


def test_both_kinds_are_measured(shared, tiny_opts):
    table = str(shared / "data/mars_info/tracks_train_info.mat")
    result = run(["--table", table, "--tracklets", "3", "--repeats", "1", *tiny_opts])
    assert set(result) == {"packed", "one tracklet at a time"}
    assert all(rate > 0 for rate in result.values())
