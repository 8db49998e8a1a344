import pytest

from datasets.tracklet import Case, Tracklet, label_map


def test_key_tells_apart_equal_names_of_two_people():
    one, two = (Tracklet("a", ("a/1.jpg",), pid, 0, "ground", None) for pid in (3, 4))
    assert (one.key, two.key) == ("3/a", "4/a")


def test_records_do_not_change():
    tracklet = Tracklet("a", ("a/1.jpg",), 3, 0, "ground", None)
    with pytest.raises(AttributeError):
        tracklet.pid = 4


def test_view_is_one_of_two():
    with pytest.raises(ValueError, match=r"3/a: view must be one of .* got 'side'"):
        Tracklet("a", ("x",), 3, 0, "side", None)


def test_label_map_numbers_distinct_values_in_order():
    assert label_map([7, 3, 7, 12]) == {3: 0, 7: 1, 12: 2}
    assert label_map([]) == {}


def test_case_names_a_registered_protocol():
    assert Case("case1", "a to b", (), ()).protocol == "cross-camera"
    with pytest.raises(ValueError, match=r"case1: protocol must be one of cross-camera, .*, got 'own'"):
        Case("case1", "a to b", (), (), "own")
