from utils.old_files import set_aside


def test_files_are_numbered_and_never_overwritten(tmp_path):
    path = tmp_path / "a.csv"
    for content in ("one", "two", "three"):
        path.write_text(content)
        set_aside(path)
    names = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert names == {"a.csv.old": "one", "a.csv.old2": "two", "a.csv.old3": "three"}


def test_another_ending(tmp_path):
    (tmp_path / "a").write_text("x")
    assert set_aside(tmp_path / "a", "damaged") == tmp_path / "a.damaged"
