from datasets.tracklet import Tracklet, label_map


def test_key_tells_apart_equal_names_of_two_people():
    one, two = (Tracklet("a", ("a/1.jpg",), pid, 0, "ground", None) for pid in (3, 4))
    assert (one.key, two.key) == ("3/a", "4/a")


def test_label_map_numbers_distinct_values_in_order():
    assert label_map([7, 3, 7, 12]) == {3: 0, 7: 1, 12: 2}
    assert label_map([]) == {}
