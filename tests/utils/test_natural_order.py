"""Names with numbers in the order that people expect."""

from utils.natural_order import natural_key


def test_natural_order():
    names = ["f10.jpg", "f2.jpg", "f02.jpg", "f", "f1_10", "f1_9", "g1", "10", "9", "", "f" + "9" * 5000]
    ordered = ["", "9", "10", "f", "f1_9", "f1_10", "f02.jpg", "f2.jpg", "f10.jpg", "f" + "9" * 5000, "g1"]
    assert sorted(names, key=natural_key) == ordered
    names.reverse()
    assert sorted(names, key=natural_key) == ordered
