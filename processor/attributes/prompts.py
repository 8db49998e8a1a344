"""What people with each attribute look like, in words that a text tower compares with pictures."""

from collections.abc import Sequence

from datasets.attributes import CODES
from model.text_space import TextSpace

# The first template whose words the text tower knows is used; a closed vocabulary has no words for views.
TEMPLATES = {"aerial": ("a photo of {}, seen from above", "{}"), "ground": ("a photo of {}", "{}")}
# What people with each code look like, in the order of preference; no gender, age or ethnicity. A value without a
# prompt, or with words that a closed vocabulary lacks, is never predicted.
PROMPTS: dict[str, dict[str, tuple[str, ...]]] = {
    "height": {
        "child": ("a child",),
        "short": ("a short person",),
        "medium": ("a person of medium height", "a person"),
        "tall": ("a tall person",),
    },
    "body_volume": {
        "thin": ("a thin person",),
        "medium": ("a person of medium build", "a person"),
        "fat": ("a heavy person",),
    },
    "hair_color": {color: (f"a person with {color} hair",) for color in ("black", "brown", "white", "red", "gray")},
    "hairstyle": {
        "bald": ("a bald person", "a person with no hair"),
        "short": ("a person with short hair",),
        "medium": ("a person with medium-length hair", "a person with medium hair"),
        "long": ("a person with long hair",),
        "horse tail": ("a person with a ponytail", "a person with hair in a horse tail"),
    },
    "beard": {"yes": ("a person with a beard",), "no": ("a person without a beard", "a person")},
    "moustache": {"yes": ("a person with a moustache",), "no": ("a person without a moustache",)},
    "glasses": {
        "normal": ("a person with glasses",),
        "sun": ("a person with sunglasses",),
        "none": ("a person without glasses",),
    },
    "head_accessories": {
        "hat": ("a person wearing a hat",),
        "scarf": ("a person wearing a scarf",),
        "necklace": ("a person wearing a necklace",),
    },
    "upper_body_clothing": {
        **{name: (f"a person in a {name}",) for name in CODES["upper_body_clothing"]},
        "naked": ("a person with a naked upper body",),
    },
    "lower_body_clothing": {
        **{name: (f"a person in {name}",) for name in ("jeans", "leggings", "pants", "shorts")},
        **{name: (f"a person in a {name}",) for name in ("skirt", "bikini", "dress", "uniform", "suit")},
    },
    "footwear": {
        "sport": ("a person in sport shoes",),
        "classic": ("a person in classic shoes",),
        "high heels": ("a person in high heels",),
        "boots": ("a person in boots",),
        "sandals": ("a person in sandals",),
        "nothing": ("a person without shoes",),
    },
    "accessories": {
        "bag": ("a person with a shoulder bag",),
        "backpack": ("a person with a backpack",),
        "handbag": ("a person with a handbag",),
        "rolling bag": ("a person with a rolling suitcase",),
        "umbrella": ("a person with an umbrella",),
        "sport bag": ("a person with a sport bag",),
        "market bag": ("a person with a shopping bag",),
        "nothing": ("a person carrying nothing", "a person"),
    },
}


def choose_prompt(space: TextSpace, phrases: Sequence[str], view: str) -> str | None:
    """Return the first phrase, in the first template, whose words the text tower knows; None if there is none."""
    prompts = (template.format(phrase) for phrase in phrases for template in TEMPLATES[view])
    return next((prompt for prompt in prompts if not space.unknown_words(prompt)), None)
