"""The order that people expect of names with numbers: 2 before 10."""

import re


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts texts by the numbers in them, so that 'cam2_9' comes before 'cam2_10' and 'cam10_1'."""
    parts = re.split(r"([0-9]+)", text)  # text and digits take turns
    numbers = [digits.lstrip("0") for digits in parts[1::2]]
    parts[1::2] = numbers
    return (*((len(part) if place % 2 else 0, part) for place, part in enumerate(parts)), (0, text))
