"""Draw synthetic people: how they look, in AG-VPReID's attribute codes and in words.

Appearance is drawn first; codes, caption and body (``demo.body``) are derived from it, so they cannot disagree. Colours
are few and shared by many people on purpose: only the whole outfit identifies a person.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.attributes import CODES, COLUMNS, UNKNOWN_CODES

Color = tuple[float, float, float]

PALETTE: dict[str, Color] = {  # sRGB in 0..1
    "black": (0.09, 0.09, 0.10), "white": (0.90, 0.90, 0.88), "gray": (0.48, 0.48, 0.49),
    "navy": (0.11, 0.14, 0.31), "blue": (0.16, 0.33, 0.68), "light blue": (0.52, 0.68, 0.86),
    "red": (0.72, 0.11, 0.13), "maroon": (0.38, 0.09, 0.13), "orange": (0.87, 0.45, 0.12),
    "yellow": (0.88, 0.76, 0.20), "green": (0.13, 0.46, 0.22), "olive": (0.34, 0.35, 0.19),
    "teal": (0.08, 0.47, 0.50), "purple": (0.39, 0.20, 0.50), "pink": (0.90, 0.55, 0.66),
    "brown": (0.37, 0.24, 0.15), "beige": (0.76, 0.67, 0.52),
}  # fmt: skip
SKIN = {
    "White": (0.86, 0.68, 0.57), "Black": (0.33, 0.22, 0.16), "Asian": (0.82, 0.65, 0.50), "Indian": (0.58, 0.41, 0.29),
}  # fmt: skip
HAIR = {
    "black": (0.06, 0.05, 0.05), "brown": (0.28, 0.17, 0.10), "white": (0.86, 0.85, 0.82), "red": (0.55, 0.23, 0.09),
    "gray": (0.52, 0.51, 0.50),
}  # fmt: skip
COLOR_JITTER = 0.035  # sRGB standard deviation inside one colour name

# How often each colour and pattern is drawn, relative to the others of its table.
UPPER_COLORS = {
    "black": 16, "white": 13, "gray": 12, "navy": 10, "blue": 9, "light blue": 6, "red": 8, "maroon": 4,
    "orange": 3, "yellow": 4, "green": 5, "olive": 4, "teal": 4, "purple": 4, "pink": 5, "brown": 3, "beige": 6,
}  # fmt: skip
LOWER_COLORS = {
    "black": 32, "gray": 15, "navy": 12, "blue": 4, "white": 6, "beige": 14, "olive": 7, "brown": 6,
    "maroon": 3, "red": 2,
}  # fmt: skip
JEANS_COLORS = {"blue": 5, "navy": 4, "light blue": 3, "black": 3}
INNER_COLORS = {"white": 4, "black": 2, "light blue": 2, "gray": 2, "red": 1}
BAG_COLORS = {"black": 8, "gray": 3, "navy": 3, "red": 3, "blue": 2, "green": 1, "brown": 3, "orange": 1, "pink": 1}
SHOE_COLORS = {"black": 5, "white": 5, "gray": 2, "brown": 3, "red": 1, "blue": 1}
ACCENT_COLORS = {"white": 6, "black": 4, "gray": 2, "navy": 2, "red": 2, "yellow": 2, "light blue": 1, "pink": 1}
PATTERNS = {"plain": 50, "striped": 13, "vertically striped": 7, "checked": 9, "logo": 12, "two-tone": 9}
PLAIN: dict[str, float] = {"plain": 1}
LOWER_PATTERNS = {"striped": 1, "checked": 2, "vertically striped": 2}

# The same for the rest; by gender where it matters.
AGES = {"0-11": 2, "12-17": 5, "18-24": 30, "25-34": 28, "35-44": 15, "45-54": 10, "55-64": 6, "over 65": 4}
VOLUMES = {"thin": 3, "medium": 5, "fat": 2}
ETHNICITIES = {"White": 5, "Black": 2, "Asian": 3, "Indian": 3}
GLASSES = {"normal": 3, "sun": 2, "none": 8}
HEADWEAR = {"hat": 4, "scarf": 2, None: 15}
HEIGHTS = {"male": {"short": 2, "medium": 5, "tall": 3}, "female": {"short": 4, "medium": 5, "tall": 3}}
STYLES = {
    "male": {"short": 9, "medium": 2, "long": 1},
    "female": {"short": 2, "medium": 3, "long": 4, "horse tail": 3},
}
UPPERS = {
    "male": {"T-shirt": 9, "shirt": 4, "sweater": 4, "hoodie": 4, "coat": 4, "cardigan": 2, "suit": 1},
    "female": {"T-shirt": 7, "blouse": 4, "sweater": 4, "hoodie": 3, "coat": 4, "cardigan": 3, "dress": 4},
}
LOWERS = {
    "male": {"jeans": 5, "pants": 5, "shorts": 3},
    "female": {"jeans": 5, "pants": 3, "shorts": 2, "skirt": 3, "leggings": 3},
}
FOOTWEAR = {
    "male": {"sport": 6, "classic": 3, "boots": 2, "sandals": 1},
    "female": {"sport": 5, "classic": 2, "high heels": 1, "boots": 3, "sandals": 2},
}
BAGS = {"nothing": 8, "backpack": 8, "bag": 4, "handbag": 5, "sport bag": 2, "market bag": 3, "rolling bag": 1}

STATURE = {"child": (1.15, 1.40), "short": (1.50, 1.62), "medium": (1.63, 1.76), "tall": (1.77, 1.94)}  # metres
GIRTH = {"thin": 0.86, "medium": 1.0, "fat": 1.26}  # factor on body radii
HEMS = {"shorts": (0.5, 1.0), "skirt": (0.5, 1.5), "dress": (0.6, 1.6)}
LONG_SLEEVED = ("sweater", "coat", "suit", "hoodie", "cardigan")
MINORS = ("0-11", "12-17")
OUTFIT = (
    "upper_body_clothing", "lower_body_clothing", "upper", "lower", "inner", "sleeve", "hem", "footwear", "shoes",
    "head_accessories", "hat", "accessories", "bag",
)  # fmt: skip
PLAIN_COAT_CHANCE = 0.7
PLAIN_LOWER_CHANCE = 0.85

AGE_WORDS = {
    "0-11": "little", "12-17": "teenage", "18-24": "young", "25-34": "young", "35-44": "middle-aged",
    "45-54": "middle-aged", "55-64": "older", "over 65": "old",
}  # fmt: skip
ACCESSORY_WORDS = {"bag": "shoulder bag", "market bag": "shopping bag", "rolling bag": "rolling suitcase"}
JOINTS = {
    "hair": " with ", "beard": " and ", "upper": " in ", "lower": " and ", "shoes": " and ", "bag": ", with ",
    "hat": ", wearing ",
}  # fmt: skip


class Garment:
    """A piece of clothing. Colours are sRGB in 0..1; ``second`` is that of the pattern, unused if plain."""

    def __init__(self, rng: np.random.Generator, colors: Mapping[str, float], patterns: Mapping[str, float] = PLAIN):
        self.color_name = _pick(rng, colors)
        others = {name: weight for name, weight in ACCENT_COLORS.items() if name != self.color_name}
        self.second_name = _pick(rng, others)
        self.color = _jitter(rng, PALETTE[self.color_name], COLOR_JITTER)
        self.pattern = "plain" if patterns is PLAIN else _pick(rng, patterns)
        self.second = _jitter(rng, PALETTE[self.second_name], COLOR_JITTER)
        self.period = rng.uniform(0.09, 0.17)  # metres from stripe to stripe

    def words(self, noun: str) -> str:
        """Describe the garment in words, such as 'red and white striped T-shirt'."""
        if self.pattern == "plain":
            return f"{self.color_name} {noun}"
        if self.pattern == "logo":
            return f"{self.color_name} {noun} with a {self.second_name} logo"
        return f"{self.color_name} and {self.second_name} {self.pattern} {noun}"


class Person:
    """One identity on one day. Names are those of ``datasets.attributes.CODES``; colours are sRGB in 0..1."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw a person. The order of the draws decides who is drawn."""
        self.gender = gender = "female" if rng.random() < 0.5 else "male"
        self.age = _pick(rng, AGES)
        self.height = "child" if self.age == "0-11" else _pick(rng, HEIGHTS[gender])
        self.body_volume = _pick(rng, VOLUMES)
        self.ethnicity = _pick(rng, ETHNICITIES)
        self.hair_color = _pick(rng, _hair_colors(self.age, self.ethnicity))
        hairy = gender == "male" and self.age not in MINORS
        bald = hairy and rng.random() < 0.12
        self.upper_body_clothing = upper = _pick(rng, UPPERS[gender])
        self.lower_body_clothing = lower = upper if upper in ("dress", "suit") else _pick(rng, LOWERS[gender])
        plain = upper in ("suit", "coat") and rng.random() < PLAIN_COAT_CHANCE
        self.upper = self.lower = Garment(rng, UPPER_COLORS, PLAIN if plain else PATTERNS)
        plain = lower not in ("skirt", "pants", "shorts") or rng.random() < PLAIN_LOWER_CHANCE
        colors = JEANS_COLORS if lower == "jeans" else LOWER_COLORS
        own = Garment(rng, colors, PLAIN if plain else LOWER_PATTERNS)
        if lower != upper:
            self.lower = own
        self.hairstyle = "bald" if bald else _pick(rng, STYLES[gender])
        self.beard = "yes" if hairy and rng.random() < 0.25 else "no"
        self.moustache = "yes" if hairy and rng.random() < 0.2 else "no"
        self.glasses = _pick(rng, GLASSES)
        self.head_accessories: str | None = _pick(rng, HEADWEAR)
        self.footwear = _pick(rng, FOOTWEAR[gender])
        self.accessories = _pick(rng, BAGS | {"handbag": BAGS["handbag"] * (gender == "female")})
        self.stature = rng.uniform(*STATURE[self.height])  # metres
        self.girth = GIRTH[self.body_volume] * rng.uniform(0.95, 1.05)  # factor on the body's radii
        self.skin = _jitter(rng, SKIN[self.ethnicity], 0.02)
        self.hair = _jitter(rng, HAIR[self.hair_color], 0.015)
        self.inner = Garment(rng, INNER_COLORS)
        self.shoes = Garment(rng, SHOE_COLORS)
        self.bag = Garment(rng, BAG_COLORS)
        self.hat = Garment(rng, ACCENT_COLORS)
        self.sleeve = _sample_sleeve(rng, upper)  # share of the upper arm and forearm covered, 0..2
        # How far shorts, a skirt or a dress reach down the leg: 0 hip, 1 knee, 2 ankle.
        self.hem = rng.uniform(*HEMS.get(lower, (2.0, 2.0)))
        self.stride = rng.uniform(0.32, 0.52)  # swing of the leg, radians
        self.cadence = rng.uniform(0.8, 1.1)  # gait cycles per second
        self.lean = rng.uniform(0.0, 0.10)  # of the trunk to the front, radians

    def redressed(self, rng: np.random.Generator) -> "Person":
        """Return the same body, face, hair and gait in the outfit of somebody else of the same gender."""
        other, same = Person(rng), copy.copy(self)
        while other.gender != self.gender:
            other = Person(rng)
        vars(same).update({name: getattr(other, name) for name in OUTFIT})
        return same

    @property
    def attributes(self) -> dict[str, int]:
        """The codes by column; nothing on the head is coded as 'unknown', as in the real tables."""
        names = {column: getattr(self, column) for column in COLUMNS}
        return {key: CODES[key].index(name) if name else UNKNOWN_CODES[key] for key, name in names.items()}

    def phrases(self) -> dict[str, str]:
        """Describe the person, hair, upper and shoes, and any beard, lower, bag and hat, in a few words each."""
        nouns = ("boy", "girl") if self.age in MINORS else ("man", "woman")
        build = {"thin": "thin ", "medium": "", "fat": "heavy "}[self.body_volume]
        tall = {"tall": "tall ", "short": "short "}.get(self.height, "")
        hair = {"bald": "no hair", "horse tail": f"{self.hair_color} hair in a horse tail"}
        shoes = {"sport": "sport shoes", "classic": "classic shoes"}.get(self.footwear, self.footwear)
        phrases = {
            "person": _with_article(f"{tall}{build}{AGE_WORDS[self.age]} {nouns[self.gender == 'female']}"),
            "hair": hair.get(self.hairstyle, f"{self.hairstyle} {self.hair_color} hair"),
            "upper": _with_article(self.upper.words(self.upper_body_clothing)),
            "shoes": self.shoes.words(shoes),
        }
        if self.beard == "yes":
            phrases["beard"] = "a beard"
        if self.lower_body_clothing not in ("dress", "suit"):
            lower = self.lower.words(self.lower_body_clothing)
            phrases["lower"] = f"a {lower}" if self.lower_body_clothing == "skirt" else lower
        if self.accessories != "nothing":
            phrases["bag"] = _with_article(self.bag.words(ACCESSORY_WORDS.get(self.accessories, self.accessories)))
        if self.head_accessories:
            phrases["hat"] = f"a {self.hat.words(self.head_accessories)}"
        return phrases

    def caption(self) -> str:
        """Describe the person in one English sentence with a closed vocabulary."""
        phrases = self.phrases()
        return phrases["person"] + "".join(f"{joint}{phrases[key]}" for key, joint in JOINTS.items() if key in phrases)


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _pick(rng: np.random.Generator, weights: Mapping[Any, float]) -> Any:
    """Draw a key with probability proportional to its weight."""
    names = list(weights)
    shares = np.array([weights[name] for name in names], float)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _jitter(rng: np.random.Generator, color: Color, scale: float) -> Color:
    red, green, blue = np.clip(np.asarray(color) + rng.normal(0.0, scale, 3), 0.02, 0.97)
    return float(red), float(green), float(blue)


def _hair_colors(age: str, ethnicity: str) -> dict[str, float]:
    if age in ("55-64", "over 65"):
        return {"gray": 5, "white": 4, "black": 1}
    if ethnicity == "White":
        return {"black": 3, "brown": 6, "red": 2, "gray": 0.5}
    return {"black": 8, "brown": 2}


def _sample_sleeve(rng: np.random.Generator, upper: str) -> float:
    if upper in LONG_SLEEVED:
        return 2.0
    if upper == "T-shirt":
        return float(rng.uniform(0.4, 0.8))
    if upper == "dress":
        return float(rng.choice([0.15, 0.6, 2.0]))
    return float(rng.choice([0.7, 2.0], p=[0.3, 0.7]))
