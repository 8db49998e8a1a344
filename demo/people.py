"""Synthetic people: their appearance (``Person``), their description in words and codes, and their walking body.

Appearance is drawn first; the AG-VPReID attribute codes, the caption and the body are all derived from it, so they
cannot disagree. Colours are few and shared by many people on purpose: only the whole outfit identifies a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets.attributes import CODES, COLUMNS, UNKNOWN_CODES

from .shapes import Color, Paint, Part, barrel, ellipsoid, pouch

PALETTE: dict[str, Color] = {  # sRGB in 0..1
    "black": (0.09, 0.09, 0.10),
    "white": (0.90, 0.90, 0.88),
    "gray": (0.48, 0.48, 0.49),
    "navy": (0.11, 0.14, 0.31),
    "blue": (0.16, 0.33, 0.68),
    "light blue": (0.52, 0.68, 0.86),
    "red": (0.72, 0.11, 0.13),
    "maroon": (0.38, 0.09, 0.13),
    "orange": (0.87, 0.45, 0.12),
    "yellow": (0.88, 0.76, 0.20),
    "green": (0.13, 0.46, 0.22),
    "olive": (0.34, 0.35, 0.19),
    "teal": (0.08, 0.47, 0.50),
    "purple": (0.39, 0.20, 0.50),
    "pink": (0.90, 0.55, 0.66),
    "brown": (0.37, 0.24, 0.15),
    "beige": (0.76, 0.67, 0.52),
}
UPPER_COLORS = {
    "black": 16, "white": 13, "gray": 12, "navy": 10, "blue": 9, "light blue": 6, "red": 8, "maroon": 4,
    "orange": 3, "yellow": 4, "green": 5, "olive": 4, "teal": 4, "purple": 4, "pink": 5, "brown": 3, "beige": 6,
}  # fmt: skip
LOWER_COLORS = {
    "black": 32, "gray": 15, "navy": 12, "blue": 4, "white": 6, "beige": 14, "olive": 7, "brown": 6,
    "maroon": 3, "red": 2,
}  # fmt: skip
JEANS_COLORS = {"blue": 5, "navy": 4, "light blue": 3, "black": 3}
BAG_COLORS = {
    "black": 8,
    "gray": 3,
    "navy": 3,
    "red": 3,
    "blue": 2,
    "green": 1,
    "brown": 3,
    "orange": 1,
    "pink": 1,
}
SHOE_COLORS = {"black": 5, "white": 5, "gray": 2, "brown": 3, "red": 1, "blue": 1}
ACCENT_COLORS = {
    "white": 6,
    "black": 4,
    "gray": 2,
    "navy": 2,
    "red": 2,
    "yellow": 2,
    "light blue": 1,
    "pink": 1,
}
COLOR_JITTER = 0.035  # sRGB standard deviation inside one colour name

SKIN: dict[str, Color] = {
    "White": (0.86, 0.68, 0.57),
    "Black": (0.33, 0.22, 0.16),
    "Asian": (0.82, 0.65, 0.50),
    "Indian": (0.58, 0.41, 0.29),
}
HAIR: dict[str, Color] = {
    "black": (0.06, 0.05, 0.05),
    "brown": (0.28, 0.17, 0.10),
    "white": (0.86, 0.85, 0.82),
    "red": (0.55, 0.23, 0.09),
    "gray": (0.52, 0.51, 0.50),
}
GLASSES_COLOR: Color = (0.04, 0.04, 0.05)

STATURE = {
    "child": (1.15, 1.40),
    "short": (1.50, 1.62),
    "medium": (1.63, 1.76),
    "tall": (1.77, 1.94),
}  # metres
GIRTH = {"thin": 0.86, "medium": 1.0, "fat": 1.26}  # factor on body radii
AGE_WORDS = {
    "0-11": "little", "12-17": "teenage", "18-24": "young", "25-34": "young", "35-44": "middle-aged",
    "45-54": "middle-aged", "55-64": "older", "over 65": "old",
}  # fmt: skip
PATTERNS = {"plain": 50, "striped": 13, "vertically striped": 7, "checked": 9, "logo": 12, "two-tone": 9}
PLAIN_LOWER_CHANCE = 0.85
LONG_SLEEVED = ("sweater", "coat", "suit", "hoodie", "cardigan")
OPEN_FRONT = ("coat", "suit", "cardigan")
ACCESSORY_WORDS = {"bag": "shoulder bag", "market bag": "shopping bag", "rolling bag": "rolling suitcase"}


def to_linear(color: Color) -> np.ndarray:
    """Convert sRGB (3,) in 0..1 to linear light with the usual 2.2 power."""
    return (np.asarray(color) ** 2.2).astype(np.float32)


@dataclass(frozen=True)
class Garment:
    """A piece of clothing. Colours are sRGB in 0..1; ``second`` is that of the pattern, unused if plain."""

    color_name: str
    color: Color
    pattern: str = "plain"
    second_name: str = "white"
    second: Color = PALETTE["white"]
    period: float = 0.12  # metres from stripe to stripe

    def words(self, noun: str) -> str:
        """Describe the garment in words, such as 'red and white striped T-shirt'."""
        if self.pattern == "plain":
            return f"{self.color_name} {noun}"
        if self.pattern == "logo":
            return f"{self.color_name} {noun} with a {self.second_name} logo"
        return f"{self.color_name} and {self.second_name} {self.pattern} {noun}"


@dataclass(frozen=True)
class Person:
    """One identity on one day. Names are those of ``datasets.attributes.CODES``; colours are sRGB in 0..1.

    Attributes:
        stature: Body height, metres.
        girth: Factor on the body's radii.
        sleeve: Share of the upper arm and forearm covered, 0..2.
        hem: How far shorts, a skirt or a dress reach down the leg; 0 hip, 1 knee, 2 ankle.
        stride: Swing of the leg, radians.
        cadence: Gait cycles per second.
        lean: Forward lean of the trunk, radians.
    """

    gender: str
    age: str
    height: str
    body_volume: str
    ethnicity: str
    hair_color: str
    hairstyle: str
    beard: str
    moustache: str
    glasses: str
    head_accessories: str | None
    upper_body_clothing: str
    lower_body_clothing: str
    footwear: str
    accessories: str
    stature: float
    girth: float
    skin: Color
    hair: Color
    upper: Garment
    inner: Garment
    lower: Garment
    shoes: Garment
    bag: Garment
    hat: Garment
    sleeve: float
    hem: float
    stride: float
    cadence: float
    lean: float

    @property
    def attributes(self) -> dict[str, int]:
        """The codes by column; nothing on the head is coded as 'unknown', as in the real tables."""
        names = {column: getattr(self, column) for column in COLUMNS}
        return {
            column: UNKNOWN_CODES[column] if name is None else CODES[column].index(name)
            for column, name in names.items()
        }

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Person":
        """Draw a person."""
        female = rng.random() < 0.5
        age = _pick(
            rng,
            {
                "0-11": 2,
                "12-17": 5,
                "18-24": 30,
                "25-34": 28,
                "35-44": 15,
                "45-54": 10,
                "55-64": 6,
                "over 65": 4,
            },
        )
        height = "child" if age == "0-11" else _pick(rng, {"short": 4 - 2 * (not female), "medium": 5, "tall": 3})
        volume = _pick(rng, {"thin": 3, "medium": 5, "fat": 2})
        ethnicity = _pick(rng, {"White": 5, "Black": 2, "Asian": 3, "Indian": 3})
        hair_color = _sample_hair_color(rng, age, ethnicity)
        bald = not female and age not in ("0-11", "12-17") and rng.random() < 0.12
        styles = (
            {"short": 2, "medium": 3, "long": 4, "horse tail": 3} if female else {"short": 9, "medium": 2, "long": 1}
        )
        hairy = not female and age not in ("0-11", "12-17")
        uppers = {"T-shirt": 9, "shirt": 4, "sweater": 4, "hoodie": 4, "coat": 4, "cardigan": 2, "suit": 1}
        lowers = {"jeans": 5, "pants": 5, "shorts": 3}
        if female:
            uppers = {
                "T-shirt": 7,
                "blouse": 4,
                "sweater": 4,
                "hoodie": 3,
                "coat": 4,
                "cardigan": 3,
                "dress": 4,
            }
            lowers = {"jeans": 5, "pants": 3, "shorts": 2, "skirt": 3, "leggings": 3}
        upper = _pick(rng, uppers)
        lower = upper if upper in ("dress", "suit") else _pick(rng, lowers)
        upper_garment = _sample_garment(rng, UPPER_COLORS, plain=upper in ("suit", "coat") and rng.random() < 0.7)
        lower_garment = _sample_garment(
            rng,
            JEANS_COLORS if lower == "jeans" else LOWER_COLORS,
            plain=lower not in ("skirt", "pants", "shorts") or rng.random() < PLAIN_LOWER_CHANCE,
            patterns={"striped": 1, "checked": 2, "vertically striped": 2},
        )
        if lower in ("dress", "suit"):
            lower_garment = upper_garment
        hems = {"shorts": (0.5, 1.0), "skirt": (0.5, 1.5), "dress": (0.6, 1.6)}
        footwear = {"sport": 6, "classic": 3, "boots": 2, "sandals": 1}
        if female:
            footwear = {"sport": 5, "classic": 2, "high heels": 1, "boots": 3, "sandals": 2}
        bags = {
            "nothing": 8, "backpack": 8, "bag": 4, "handbag": 5 * female, "sport bag": 2, "market bag": 3,
            "rolling bag": 1,
        }  # fmt: skip
        return cls(
            gender="female" if female else "male",
            age=age,
            height=height,
            body_volume=volume,
            ethnicity=ethnicity,
            hair_color=hair_color,
            hairstyle="bald" if bald else _pick(rng, styles),
            beard="yes" if hairy and rng.random() < 0.25 else "no",
            moustache="yes" if hairy and rng.random() < 0.2 else "no",
            glasses=_pick(rng, {"normal": 3, "sun": 2, "none": 8}),
            head_accessories=_pick(rng, {"hat": 4, "scarf": 2, None: 15}),
            upper_body_clothing=upper,
            lower_body_clothing=lower,
            footwear=_pick(rng, footwear),
            accessories=_pick(rng, bags),
            stature=float(rng.uniform(*STATURE[height])),
            girth=float(GIRTH[volume] * rng.uniform(0.95, 1.05)),
            skin=_jitter(rng, SKIN[ethnicity], 0.02),
            hair=_jitter(rng, HAIR[hair_color], 0.015),
            upper=upper_garment,
            inner=_sample_garment(rng, {"white": 4, "black": 2, "light blue": 2, "gray": 2, "red": 1}, plain=True),
            lower=lower_garment,
            shoes=_sample_garment(rng, SHOE_COLORS, plain=True),
            bag=_sample_garment(rng, BAG_COLORS, plain=True),
            hat=_sample_garment(rng, ACCENT_COLORS, plain=True),
            sleeve=_sample_sleeve(rng, upper),
            hem=float(rng.uniform(*hems.get(lower, (2.0, 2.0)))),
            stride=float(rng.uniform(0.32, 0.52)),
            cadence=float(rng.uniform(0.8, 1.1)),
            lean=float(rng.uniform(0.0, 0.10)),
        )

    def phrases(self) -> dict[str, str]:
        """Describe what is seen of the person, each thing in a few words of a closed vocabulary.

        The keys are 'person', 'hair', 'upper' and 'shoes', and where there are any 'beard', 'lower', 'bag' and 'hat'.
        """
        noun = {"male": "man", "female": "woman"}[self.gender]
        if self.age in ("0-11", "12-17"):
            noun = {"male": "boy", "female": "girl"}[self.gender]
        build = {"thin": "thin ", "medium": "", "fat": "heavy "}[self.body_volume]
        tall = {"tall": "tall ", "short": "short "}.get(self.height, "")
        hair = {
            "bald": "no hair",
            "horse tail": f"{self.hair_color} hair in a horse tail",
        }.get(self.hairstyle, f"{self.hairstyle} {self.hair_color} hair")
        shoes = {"sport": "sport shoes", "classic": "classic shoes"}.get(self.footwear, self.footwear)
        phrases = {
            "person": _with_article(f"{tall}{build}{AGE_WORDS[self.age]} {noun}"),
            "hair": hair,
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
        joints = {
            "hair": " with ", "beard": " and ", "upper": " in ", "lower": " and ", "shoes": " and ", "bag": ", with ",
            "hat": ", wearing ",
        }  # fmt: skip
        return phrases["person"] + "".join(f"{joint}{phrases[key]}" for key, joint in joints.items() if key in phrases)


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


def _sample_hair_color(rng: np.random.Generator, age: str, ethnicity: str) -> str:
    if age in ("55-64", "over 65"):
        return _pick(rng, {"gray": 5, "white": 4, "black": 1})
    if ethnicity == "White":
        return _pick(rng, {"black": 3, "brown": 6, "red": 2, "gray": 0.5})
    return _pick(rng, {"black": 8, "brown": 2})


def _sample_garment(
    rng: np.random.Generator,
    colors: Mapping[str, float],
    plain: bool,
    patterns: Mapping[str, float] = PATTERNS,
) -> Garment:
    name = _pick(rng, colors)
    second = _pick(rng, {key: weight for key, weight in ACCENT_COLORS.items() if key != name})
    return Garment(
        name,
        _jitter(rng, PALETTE[name], COLOR_JITTER),
        "plain" if plain else _pick(rng, patterns),
        second,
        _jitter(rng, PALETTE[second], COLOR_JITTER),
        float(rng.uniform(0.09, 0.17)),
    )


def _sample_sleeve(rng: np.random.Generator, upper: str) -> float:
    if upper in LONG_SLEEVED:
        return 2.0
    if upper == "T-shirt":
        return float(rng.uniform(0.4, 0.8))
    if upper == "dress":
        return float(rng.choice([0.15, 0.6, 2.0]))
    return float(rng.choice([0.7, 2.0], p=[0.3, 0.7]))


def _cloth(garment: Garment, middle: float, half: float, radius: float, trunk: bool = False) -> Paint:
    """Paint a tube with a garment.

    Args:
        garment: Colours and pattern.
        middle, half: Height of the tube's middle along the pattern, and half its length, metres.
        radius: Radius of the tube, metres; spaces the vertical stripes.
        trunk: Whether logos and two-tone seams belong here.
    """
    base, second = to_linear(garment.color), to_linear(garment.second)
    pattern, period = garment.pattern, garment.period
    spokes = max(round(2 * np.pi * radius / (period * 0.8)), 3)

    def paint(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        height = middle + half * z
        if pattern == "striped":
            share = (height / period) % 1.0 < 0.45
        elif pattern == "vertically striped":
            share = (np.arctan2(x, y) / (2 * np.pi) * spokes + 0.25) % 1.0 < 0.45
        elif pattern == "checked":
            share = ((height / period) % 1.0 < 0.5) * 0.5
            share = share + ((np.arctan2(x, y) / (2 * np.pi) * spokes) % 1.0 < 0.5) * 0.5
        elif pattern == "logo" and trunk:
            share = (y > 0) & (np.abs(x) < 0.55) & (np.abs(height - LOGO_HEIGHT) < 0.10)
        elif pattern == "two-tone":
            share = height > SEAM_HEIGHT if trunk else np.ones(len(x), dtype=bool)
        else:
            share = None
        folds = 1.0 + 0.10 * np.sin(height * 23.0 + 4.0 * x) * np.cos(7.0 * y + height * 11.0)
        if share is None:
            return base * folds[:, None]
        return (base + share[:, None] * (second - base)) * folds[:, None]

    return paint


LOGO_HEIGHT = 1.24  # metres above ground on a body of unit girth and 1.75 m, as all pattern heights
SEAM_HEIGHT = 1.20
PATTERN_STATURE = 1.75


def _split(upper: Paint, lower: Paint, height: float) -> Paint:
    """Paint own-frame z above ``height`` with ``upper`` and the rest with ``lower``."""
    if height <= -1.0:
        return upper
    if height >= 1.0:
        return lower

    def paint(points: np.ndarray) -> np.ndarray:
        above = (points[2] > height)[:, None]
        return np.where(above, _colors(upper, points), _colors(lower, points))

    return paint


def _colors(paint: Paint, points: np.ndarray) -> np.ndarray:
    return paint(points) if callable(paint) else np.asarray(paint, dtype=np.float32)


def _face(person: Person, skin: np.ndarray, hair: np.ndarray) -> Paint:
    """Paint a head: hair on top and behind, eyes or glasses, mouth shadow, beard and moustache in front."""
    bald = person.hairstyle == "bald"
    covered = person.hairstyle in ("medium", "long")
    eyes = to_linear(GLASSES_COLOR) if person.glasses == "sun" else skin * (0.30 if person.glasses == "normal" else 0.5)

    def paint(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        color = np.broadcast_to(skin, (len(x), 3)).copy()
        front = y > 0.25
        color[front & (np.abs(z - 0.08) < 0.11) & (np.abs(x) < 0.75) & (np.abs(x) > 0.1)] = eyes
        color[front & (np.abs(z + 0.52) < 0.05) & (np.abs(x) < 0.35)] = skin * 0.55
        if person.moustache == "yes":
            color[front & (np.abs(z + 0.38) < 0.09) & (np.abs(x) < 0.4)] = hair
        if person.beard == "yes":
            color[(y > -0.1) & (z < -0.42)] = hair
        if not bald:
            side = np.where(covered, -1.0, -0.15)
            color[(z > 0.50 + 0.12 * y) | ((y < 0.30 if covered else y < -0.05) & (z > side - 0.5 * (y < -0.5)))] = hair
        return color

    return paint


def _open_front(coat: Paint, inner: np.ndarray) -> Paint:
    """Let the inner garment show in a vertical gap in front."""

    def paint(points: np.ndarray) -> np.ndarray:
        gap = (points[1] > 0) & (np.abs(points[0]) < 0.2)
        return np.where(gap[:, None], inner, _colors(coat, points))

    return paint


def walking_body(person: Person, phase: float) -> list[Part]:
    """Build the body at one moment of the gait.

    Args:
        person: Whose body.
        phase: Gait phase in radians; 2 pi is one cycle of two steps.
    Returns:
        Parts in the person's frame: x right, y front, z up from the ground under the hips, metres.
    """
    return _BodyBuilder(person, phase).build()


class _BodyBuilder:
    """Puts one body together, part by part, in metres: proportions of a 1.75 m adult scaled by ``unit``."""

    def __init__(self, person: Person, phase: float) -> None:
        self.person = person
        self.unit = person.stature / PATTERN_STATURE
        self.phase = phase
        self.skin = to_linear(person.skin)
        self.hair = to_linear(person.hair)
        female = person.gender == "female"
        self.shoulder = (0.185 if female else 0.212) * self.unit * (0.6 + 0.4 * person.girth)
        self.hip = (0.175 if female else 0.160) * self.unit * person.girth
        self.waist = (0.135 if female else 0.155) * self.unit * person.girth**1.4
        self.bob = 0.02 * self.unit * abs(np.cos(phase))
        self.parts: list[Part] = []

    def build(self) -> list[Part]:
        """Return all parts."""
        self._add_legs()
        self._add_trunk()
        hands = self._add_arms()
        self._add_head()
        self._add_bag(hands)
        return self.parts

    def _at(self, x: float, y: float, z: float) -> np.ndarray:
        """Return the point of the leaning trunk at height z of a 1.75 m body; x and y in metres."""
        return np.array([x, y + self.person.lean * (z - 0.95) * self.unit, z * self.unit + self.bob])

    def _tube(
        self,
        top: np.ndarray,
        bottom: np.ndarray,
        radii: tuple[float, float],
        garment: Garment | None = None,
        covered: float = 1.0,
        **shape: float,
    ) -> None:
        """Add a limb whose upper share ``covered`` wears the garment and whose rest is skin."""
        paint: Paint = tuple(self.skin)
        if garment is not None:
            half = float(np.linalg.norm(top - bottom)) / 2
            middle = (top[2] + bottom[2]) / 2 / self.unit
            paint = _split(_cloth(garment, middle, half / self.unit, radii[0]), paint, 1.0 - 2.0 * covered)
        self.parts.append(barrel(top, bottom, *radii, paint, **shape))

    def _add_legs(self) -> None:
        person, unit = self.person, self.unit
        girth = 0.35 + 0.65 * person.girth
        loose = {"leggings": 0.88, "jeans": 1.0, "pants": 1.1, "suit": 1.1}.get(person.lower_body_clothing, 1.0)
        skirted = person.lower_body_clothing in ("skirt", "dress")
        long_legged = not skirted and person.lower_body_clothing != "shorts"
        covered = 0.0 if skirted else person.hem
        for side, phase in ((-1.0, self.phase), (1.0, self.phase + np.pi)):
            swing = (0.7 if skirted else 1.0) * person.stride * np.sin(phase)
            bend = 0.08 + 0.85 * max(np.cos(phase), 0.0) ** 1.5
            hip = np.array([side * self.hip * 0.52, 0.0, 0.93 * unit + self.bob])
            knee = hip + 0.44 * unit * _sagittal(swing)
            ankle = knee + 0.42 * unit * _sagittal(swing - bend)
            garment = None if skirted else person.lower
            wide = loose if long_legged else 1.0
            thigh = (0.092 * unit * girth * wide, 0.062 * unit * girth * wide)
            calf = (0.060 * unit * girth * wide, 0.044 * unit * girth * wide**2)
            self._tube(hip, knee, thigh, garment, min(covered, 1.0))
            self._tube(knee, ankle, calf, garment if long_legged else None, 1.0, bulge=0.25)
            if person.lower_body_clothing == "shorts":
                hem = hip + (knee - hip) * person.hem
                self._tube(hip, hem, (0.105 * unit * girth, 0.095 * unit * girth), garment, bulge=0.1)
            self._add_foot(ankle, swing - bend * 0.8)

    def _add_foot(self, ankle: np.ndarray, pitch: float) -> None:
        person, unit = self.person, self.unit
        shoe: Paint = tuple(to_linear(person.shoes.color))
        if person.footwear == "sandals":
            shoe = _split(tuple(self.skin), shoe, -0.2)
        toe = ankle + np.array([0.0, 0.075, -0.045]) * unit
        self.parts.append(ellipsoid(toe, (0.048 * unit, 0.135 * unit, 0.05 * unit), shoe, pitch=-0.6 * pitch))
        if person.footwear == "boots":
            top = ankle + np.array([0.0, -np.sin(pitch), 1.0]) * 0.26 * unit
            self.parts.append(barrel(top, ankle, 0.074 * unit, 0.060 * unit, shoe, bulge=0.1))

    def _add_trunk(self) -> None:
        person, unit = self.person, self.unit
        upper = person.upper
        trunk = _cloth(upper, 0.0, 0.0, self.waist)
        belly = 0.78 if person.body_volume == "fat" else 0.62
        thick = {"coat": 1.10, "hoodie": 1.07, "sweater": 1.05}.get(person.upper_body_clothing, 1.0)
        for top, bottom, top_radius, bottom_radius, depth in (
            (1.40, 1.16, self.shoulder * 0.92, self.waist * 1.06, 0.60),
            (1.20, 0.90, self.waist * 1.04, self.hip, belly),
        ):
            middle, half = (top + bottom) / 2, (top - bottom) / 2
            trunk = _cloth(upper, middle, half, self.waist, trunk=True)
            if person.upper_body_clothing in OPEN_FRONT:
                trunk = _open_front(trunk, to_linear(person.inner.color))
            tube = barrel(
                self._at(0, 0, top), self._at(0, 0, bottom), top_radius * thick, bottom_radius * thick, trunk,
                depth, 1.1, bulge=0.2,
            )  # fmt: skip
            self.parts.append(tube)
        yoke = _cloth(upper, 1.40, 0.07, self.shoulder, trunk=True)
        self.parts.append(
            ellipsoid(self._at(0, 0, 1.395), (self.shoulder * 0.98, 0.105 * unit * thick, 0.085 * unit), yoke)
        )
        seat = person.lower if person.lower_body_clothing != "dress" else person.upper
        seat_paint = _cloth(seat, 0.93, 0.12, self.hip)
        self.parts.append(
            ellipsoid(self._at(0, -0.01, 0.94), (self.hip * 1.02, self.hip * 0.78, 0.125 * unit), seat_paint)
        )
        self._add_skirt_or_tails(thick)

    def _add_skirt_or_tails(self, thick: float) -> None:
        """Add a skirt, or the part of a coat, suit or hoodie that hangs over the hips."""
        person = self.person
        hems = {"coat": 0.62, "suit": 0.80, "cardigan": 0.74, "hoodie": 0.86, "shirt": 0.85, "blouse": 0.86}
        if person.lower_body_clothing in ("skirt", "dress"):
            self._add_bell(person.lower, 1.02, 0.93 - 0.42 * person.hem, 1.18 + 0.2 * person.hem)
        if person.upper_body_clothing in hems:
            self._add_bell(person.upper, 1.00, hems[person.upper_body_clothing], 1.12 * thick)

    def _add_bell(self, garment: Garment, top: float, bottom: float, flare: float) -> None:
        opened = self.person.upper_body_clothing in OPEN_FRONT and garment is self.person.upper
        half = (top - bottom) / 2
        cloth = _cloth(garment, (top + bottom) / 2, half, self.hip, trunk=True)
        if opened:
            cloth = _open_front(cloth, to_linear(self.person.lower.color))
        narrow = (self.waist + self.hip) / 2 * 1.04
        wide = self.hip * flare * 1.03
        sway = 0.03 * np.sin(self.phase)
        hem = self._at(0.0, sway, bottom)
        self.parts.append(barrel(self._at(0, 0, top), hem, narrow, wide, cloth, 0.9, 1.0, bulge=0.1))

    def _add_arms(self) -> list[np.ndarray]:
        """Add arms, swinging against the legs; return the left and right hand's positions."""
        person, unit = self.person, self.unit
        girth = 0.45 + 0.55 * person.girth
        wide = {"coat": 1.22, "hoodie": 1.15, "sweater": 1.1, "suit": 1.12}.get(person.upper_body_clothing, 1.0)
        busy = {"handbag": 1, "rolling bag": 1, "market bag": 1, "sport bag": 1}.get(person.accessories)
        hands = []
        for index, (side, phase) in enumerate(((-1.0, self.phase + np.pi), (1.0, self.phase))):
            swing = (0.25 if index == busy else 0.9) * person.stride * np.sin(phase) + 0.02
            bend = 0.2 + 0.35 * max(np.sin(phase), 0.0) * (index != busy)
            out = np.array([side * 0.14, 0.0, 0.0])
            shoulder = self._at(side * self.shoulder * 0.94, 0.0, 1.405)
            elbow = shoulder + 0.29 * unit * (_sagittal(swing) + out * 1.2)
            hand = elbow + 0.26 * unit * (_sagittal(swing + bend) + out * 0.3)
            sleeve = person.sleeve
            self._tube(
                shoulder + (0, 0, 0.02), elbow, (0.056 * unit * girth * wide, 0.043 * unit * girth * wide),
                person.upper, min(sleeve, 1.0),
            )  # fmt: skip
            self._tube(
                elbow, hand, (0.042 * unit * girth * wide, 0.031 * unit * girth * wide),
                person.upper, np.clip(sleeve - 1.0, 0.0, 1.0), bulge=0.25,
            )  # fmt: skip
            fist = hand + 0.05 * unit * _sagittal(swing + bend)
            self.parts.append(ellipsoid(fist, (0.033 * unit, 0.042 * unit, 0.062 * unit), tuple(self.skin)))
            hands.append(fist)
        return hands

    def _add_head(self) -> None:
        person, unit = self.person, self.unit
        size = unit * (1.12 if person.height == "child" else 1.0)
        head = self._at(0, 0.02, 1.635)
        self._tube(self._at(0, 0.01, 1.56), self._at(0, 0, 1.42), (0.054 * unit, 0.062 * unit), bulge=0.1)
        radii = np.array([0.078, 0.096, 0.118]) * size * (1.0 if person.hairstyle == "bald" else 1.05)
        self.parts.append(ellipsoid(head, radii, _face(person, self.skin, self.hair)))
        hair: Paint = tuple(self.hair)
        if person.hairstyle in ("medium", "long"):
            end = 1.50 if person.hairstyle == "medium" else 1.30
            top = head + np.array([0.0, -0.035, 0.06]) * size
            self.parts.append(pouch(top, self._at(0, -0.09 * unit, end), 0.092 * size, hair, 0.62))
        if person.hairstyle == "horse tail":
            knot = head + np.array([0.0, -0.10, 0.04]) * size
            tip = self._at(0.03 * np.sin(self.phase), -0.17 * unit, 1.36)
            self.parts.append(pouch(knot, tip, 0.034 * size, hair))
        cloth: Paint = tuple(to_linear(person.hat.color))
        if person.head_accessories == "hat":
            crown = head + np.array([0.0, -0.005, 0.07]) * size
            self.parts.append(ellipsoid(crown, (0.093 * size, 0.11 * size, 0.075 * size), cloth))
            brim = head + np.array([0.0, 0.075, 0.062]) * size
            self.parts.append(ellipsoid(brim, (0.085 * size, 0.12 * size, 0.016 * size), cloth))
        elif person.head_accessories == "scarf":
            self.parts.append(ellipsoid(self._at(0, 0.01, 1.475), (0.11 * unit, 0.115 * unit, 0.06 * unit), cloth))
        if person.upper_body_clothing == "hoodie":
            cloth = tuple(to_linear(person.upper.color))
            self.parts.append(
                ellipsoid(self._at(0, -0.085 * unit, 1.46), (0.125 * unit, 0.075 * unit, 0.085 * unit), cloth)
            )

    def _add_bag(self, hands: list[np.ndarray]) -> None:
        person, unit = self.person, self.unit
        color: Paint = tuple(to_linear(person.bag.color))
        kind = person.accessories
        back = self.waist * 0.75
        if kind == "backpack":
            dark: Paint = tuple(0.45 * to_linear(person.bag.color))
            pack = _split(color, dark, -0.35)
            top, bottom = self._at(0, -back - 0.07 * unit, 1.44), self._at(0, -back - 0.09 * unit, 1.04)
            self.parts.append(pouch(top, bottom, 0.15 * unit, pack, 0.68))
            for side in (-1.0, 1.0):
                x = side * self.shoulder * 0.55
                front = self.waist * 0.62
                self.parts.append(barrel(
                    self._at(x, 0.06 * unit, 1.47), self._at(x * 1.15, front, 1.18),
                    0.026 * unit, 0.024 * unit, color, 0.9,
                ))  # fmt: skip
        elif kind in ("bag", "sport bag"):
            size = 1.0 if kind == "bag" else 1.35
            purse = self._at(self.hip * 1.05 + 0.05 * unit, -0.06 * unit, 0.95)
            self.parts.append(ellipsoid(purse, (0.07 * unit * size, 0.17 * unit * size, 0.13 * unit * size), color))
            strap_top = self._at(-self.shoulder * 0.5, 0.0, 1.47)
            for y in (-0.8, 0.85):
                middle = self._at(0.1 * self.hip, y * self.waist * 0.78, 1.2)
                self.parts.append(barrel(strap_top, middle, 0.02 * unit, 0.02 * unit, color))
                self.parts.append(barrel(middle, purse, 0.02 * unit, 0.02 * unit, color))
        elif kind in ("handbag", "market bag"):
            radii = (0.06, 0.13, 0.11) if kind == "handbag" else (0.09, 0.13, 0.17)
            lower = hands[1] - (0.0, 0.0, (0.05 + radii[2]) * unit)
            if kind == "handbag":
                self.parts.append(ellipsoid(lower, np.array(radii) * unit, color))
            else:
                plastic: Paint = tuple(to_linear(person.bag.color) * 0.5 + 0.35)
                self.parts.append(ellipsoid(lower, np.array(radii) * unit, plastic))
        elif kind == "rolling bag":
            base = np.array([0.28, -0.45, 0.30]) * unit
            top, bottom = base + np.array([0, 0.08, 0.30]) * unit, base - np.array([0, 0.02, 0.27]) * unit
            self.parts.append(pouch(top, bottom, 0.17 * unit, color, 0.6))
            self.parts.append(barrel(hands[1], base + np.array([0, 0.05, 0.3]) * unit, 0.015, 0.015, GLASSES_COLOR))


def _sagittal(angle: float) -> np.ndarray:
    """Return the unit vector that hangs down and is swung to the front by ``angle`` radians."""
    return np.array([0.0, np.sin(angle), -np.cos(angle)])
