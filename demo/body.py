"""Build the walking, clothed body of a synthetic person out of the shapes of ``demo.shapes``."""

from collections.abc import Callable, Sequence

import numpy as np

from .people import Color, Garment, Person
from .shapes import Paint, Part, barrel, ellipsoid, paint_points, pouch

PATTERN_STATURE = 1.75  # metres; proportions and pattern heights are those of a body of this stature
LOGO_HEIGHT = 1.24  # metres above ground
SEAM_HEIGHT = 1.20
GLASSES_COLOR: Color = (0.04, 0.04, 0.05)

OPEN_FRONT = ("coat", "suit", "cardigan")
TRUNK_FACTORS = {"coat": 1.10, "hoodie": 1.07, "sweater": 1.05}
ARM_FACTORS = {"coat": 1.22, "hoodie": 1.15, "sweater": 1.1, "suit": 1.12}
LEG_FACTORS = {"leggings": 0.88, "jeans": 1.0, "pants": 1.1, "suit": 1.1}
TAILS = {"coat": 0.62, "suit": 0.80, "cardigan": 0.74, "hoodie": 0.86, "shirt": 0.85, "blouse": 0.86}  # metres
HAND_BAGS = ("handbag", "rolling bag", "market bag", "sport bag")  # the right arm hardly swings


def walking_body(person: Person, phase: float) -> list[Part]:
    """Build the body at one moment of the gait, ``phase`` radians after its start; 2 pi is one cycle of two steps.

    In the person's frame, metres: x right, y front, z up from the ground under the hips.
    """
    body = _Body(person, phase)
    body.add_legs()
    body.add_trunk()
    right_hand = body.add_arms()
    body.add_head()
    body.add_bag(right_hand)
    return body.parts


def to_linear(color: Color) -> np.ndarray:
    """Convert sRGB (3,) in 0..1 to linear light with the usual 2.2 power."""
    return (np.asarray(color) ** 2.2).astype(np.float32)


def _cloth(garment: Garment, middle: float, half: float, radius: float, trunk: bool = False) -> Paint:
    """Paint a tube with a garment; logos and two-tone seams belong on the ``trunk`` only.

    In metres: the tube's middle is at height ``middle`` of the pattern, its length 2 ``half``.
    """
    base, second = to_linear(garment.color), to_linear(garment.second)
    pattern, period = garment.pattern, garment.period
    spokes = max(round(2 * np.pi * radius / (period * 0.8)), 3)

    def paint(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        height = middle + half * z
        folds = 1.0 + 0.10 * np.sin(height * 23.0 + 4.0 * x) * np.cos(7.0 * y + height * 11.0)
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
            return base * folds[:, None]
        return (base + share[:, None] * (second - base)) * folds[:, None]

    return paint


def _choose(where: Callable[[np.ndarray], np.ndarray], first: Paint, second: Paint) -> Paint:
    """Paint the points for which ``where`` holds with ``first`` and the rest with ``second``."""
    return lambda points: np.where(where(points)[:, None], paint_points(first, points), paint_points(second, points))


def _split(upper: Paint, lower: Paint, height: float) -> Paint:
    """Paint own-frame z above ``height`` with ``upper`` and the rest with ``lower``."""
    if abs(height) >= 1.0:
        return upper if height < 0 else lower
    return _choose(lambda points: points[2] > height, upper, lower)


def _open_front(coat: Paint, inner: Color) -> Paint:
    """Let the inner garment show in a vertical gap in front."""
    return _choose(lambda points: (points[1] > 0) & (np.abs(points[0]) < 0.2), to_linear(inner), coat)


def _face(person: Person, skin: np.ndarray, hair: np.ndarray) -> Paint:
    """Paint a head: hair on top and behind, eyes or glasses, mouth shadow, beard and moustache in front."""
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
        if person.hairstyle != "bald":
            side = np.where(covered, -1.0, -0.15)
            color[(z > 0.50 + 0.12 * y) | ((y < 0.30 if covered else y < -0.05) & (z > side - 0.5 * (y < -0.5)))] = hair
        return color

    return paint


def _sagittal(angle: float) -> np.ndarray:
    """Return the unit vector that hangs down and is swung to the front by ``angle`` radians."""
    return np.array([0.0, np.sin(angle), -np.cos(angle)])


class _Body:
    """Puts one body together, part by part, in metres: proportions of a 1.75 m adult scaled by ``unit``."""

    def __init__(self, person: Person, phase: float) -> None:
        self.person, self.phase = person, phase
        self.unit = person.stature / PATTERN_STATURE
        self.skin = to_linear(person.skin)
        shoulder, hip, waist = (0.185, 0.175, 0.135) if person.gender == "female" else (0.212, 0.160, 0.155)
        self.shoulder = shoulder * self.unit * (0.6 + 0.4 * person.girth)
        self.hip = hip * self.unit * person.girth
        self.waist = waist * self.unit * person.girth**1.4
        self.bob = 0.02 * self.unit * abs(np.cos(phase))
        self.parts: list[Part] = []
        self.add = self.parts.append

    def _at(self, x: float, y: float, z: float) -> np.ndarray:
        """Return the point of the leaning trunk at height z of a 1.75 m body; x and y in metres."""
        return np.array([x, y + self.person.lean * (z - 0.95) * self.unit, z * self.unit + self.bob])

    def _add_tube(
        self, ends: Sequence[np.ndarray], radii: tuple[float, float], garment: Garment, covered: float, **shape: float
    ) -> None:
        """Add a limb whose upper share ``covered`` wears the garment and whose rest is skin."""
        top, bottom = ends
        half, middle = float(np.linalg.norm(top - bottom)) / 2, (top[2] + bottom[2]) / 2
        cloth = _cloth(garment, middle / self.unit, half / self.unit, radii[0])
        self.add(barrel(top, bottom, *radii, _split(cloth, self.skin, 1.0 - 2.0 * covered), **shape))

    def add_legs(self) -> None:
        person, unit, kind = self.person, self.unit, self.person.lower_body_clothing
        girth = 0.35 + 0.65 * person.girth
        skirted = kind in ("skirt", "dress")
        long_legged = not skirted and kind != "shorts"
        wide = LEG_FACTORS.get(kind, 1.0) if long_legged else 1.0
        thigh = (0.092 * unit * girth * wide, 0.062 * unit * girth * wide)
        calf = (0.060 * unit * girth * wide, 0.044 * unit * girth * wide**2)
        for side, phase in ((-1.0, self.phase), (1.0, self.phase + np.pi)):
            swing = (0.7 if skirted else 1.0) * person.stride * np.sin(phase)
            bend = 0.08 + 0.85 * max(np.cos(phase), 0.0) ** 1.5
            hip = np.array([side * self.hip * 0.52, 0.0, 0.93 * unit + self.bob])
            knee = hip + 0.44 * unit * _sagittal(swing)
            ankle = knee + 0.42 * unit * _sagittal(swing - bend)
            self._add_tube((hip, knee), thigh, person.lower, 0.0 if skirted else min(person.hem, 1.0))
            self._add_tube((knee, ankle), calf, person.lower, float(long_legged), bulge=0.25)
            if kind == "shorts":
                hem = hip + (knee - hip) * person.hem
                self._add_tube((hip, hem), (0.105 * unit * girth, 0.095 * unit * girth), person.lower, 1.0, bulge=0.1)
            self._add_foot(ankle, swing - bend * 0.8)

    def _add_foot(self, ankle: np.ndarray, pitch: float) -> None:
        unit = self.unit
        shoe: Paint = to_linear(self.person.shoes.color)
        if self.person.footwear == "sandals":
            shoe = _split(self.skin, shoe, -0.2)
        toe = ankle + np.array([0.0, 0.075, -0.045]) * unit
        self.add(ellipsoid(toe, (0.048 * unit, 0.135 * unit, 0.05 * unit), shoe, pitch=-0.6 * pitch))
        if self.person.footwear == "boots":
            top = ankle + np.array([0.0, -np.sin(pitch), 1.0]) * 0.26 * unit
            self.add(barrel(top, ankle, 0.074 * unit, 0.060 * unit, shoe, bulge=0.1))

    def add_trunk(self) -> None:
        person, unit, kind = self.person, self.unit, self.person.upper_body_clothing
        belly = 0.78 if person.body_volume == "fat" else 0.62
        thick = TRUNK_FACTORS.get(kind, 1.0)
        for top, bottom, top_radius, bottom_radius, depth in (
            (1.40, 1.16, self.shoulder * 0.92, self.waist * 1.06, 0.60),
            (1.20, 0.90, self.waist * 1.04, self.hip, belly),
        ):
            cloth = _cloth(person.upper, (top + bottom) / 2, (top - bottom) / 2, self.waist, trunk=True)
            if kind in OPEN_FRONT:
                cloth = _open_front(cloth, person.inner.color)
            ends = self._at(0, 0, top), self._at(0, 0, bottom)
            self.add(barrel(*ends, top_radius * thick, bottom_radius * thick, cloth, depth, 1.1, bulge=0.2))
        yoke = _cloth(person.upper, 1.40, 0.07, self.shoulder, trunk=True)
        seat = _cloth(person.upper if person.lower_body_clothing == "dress" else person.lower, 0.93, 0.12, self.hip)
        self.add(ellipsoid(self._at(0, 0, 1.395), (self.shoulder * 0.98, 0.105 * unit * thick, 0.085 * unit), yoke))
        self.add(ellipsoid(self._at(0, -0.01, 0.94), (self.hip * 1.02, self.hip * 0.78, 0.125 * unit), seat))
        if person.lower_body_clothing in ("skirt", "dress"):
            self._add_bell(person.lower, 1.02, 0.93 - 0.42 * person.hem, 1.18 + 0.2 * person.hem)
        if kind in TAILS:
            self._add_bell(person.upper, 1.00, TAILS[kind], 1.12 * thick)

    def _add_bell(self, garment: Garment, top: float, bottom: float, flare: float) -> None:
        """Add a skirt, or the part of a garment that hangs over the hips."""
        cloth = _cloth(garment, (top + bottom) / 2, (top - bottom) / 2, self.hip, trunk=True)
        if self.person.upper_body_clothing in OPEN_FRONT and garment is self.person.upper:
            cloth = _open_front(cloth, self.person.lower.color)
        narrow, wide = (self.waist + self.hip) / 2 * 1.04, self.hip * flare * 1.03
        hem = self._at(0.0, 0.03 * np.sin(self.phase), bottom)
        self.add(barrel(self._at(0, 0, top), hem, narrow, wide, cloth, 0.9, 1.0, bulge=0.1))

    def add_arms(self) -> np.ndarray:
        """Add arms, swinging against the legs; return the right hand's position."""
        person, unit = self.person, self.unit
        girth = 0.45 + 0.55 * person.girth
        wide = ARM_FACTORS.get(person.upper_body_clothing, 1.0)
        upper_arm = (0.056 * unit * girth * wide, 0.043 * unit * girth * wide)
        forearm = (0.042 * unit * girth * wide, 0.031 * unit * girth * wide)
        for side, phase in ((-1.0, self.phase + np.pi), (1.0, self.phase)):
            busy = side > 0 and person.accessories in HAND_BAGS
            swing = (0.25 if busy else 0.9) * person.stride * np.sin(phase) + 0.02
            bend = 0.2 + 0.35 * max(np.sin(phase), 0.0) * (not busy)
            out = np.array([side * 0.14, 0.0, 0.0])
            shoulder = self._at(side * self.shoulder * 0.94, 0.0, 1.405)
            elbow = shoulder + 0.29 * unit * (_sagittal(swing) + out * 1.2)
            hand = elbow + 0.26 * unit * (_sagittal(swing + bend) + out * 0.3)
            ends = shoulder + (0, 0, 0.02), elbow
            self._add_tube(ends, upper_arm, person.upper, min(person.sleeve, 1.0))
            self._add_tube((elbow, hand), forearm, person.upper, np.clip(person.sleeve - 1.0, 0.0, 1.0), bulge=0.25)
            fist = hand + 0.05 * unit * _sagittal(swing + bend)
            self.add(ellipsoid(fist, (0.033 * unit, 0.042 * unit, 0.062 * unit), self.skin))
        return fist

    def add_head(self) -> None:
        person, unit = self.person, self.unit
        size = unit * (1.12 if person.height == "child" else 1.0)
        head = self._at(0, 0.02, 1.635)
        hair, cloth = to_linear(person.hair), to_linear(person.hat.color)
        self.add(
            barrel(self._at(0, 0.01, 1.56), self._at(0, 0, 1.42), 0.054 * unit, 0.062 * unit, self.skin, bulge=0.1)
        )
        radii = np.array([0.078, 0.096, 0.118]) * size * (1.0 if person.hairstyle == "bald" else 1.05)
        self.add(ellipsoid(head, radii, _face(person, self.skin, hair)))
        if person.hairstyle in ("medium", "long"):
            end = self._at(0, -0.09 * unit, 1.50 if person.hairstyle == "medium" else 1.30)
            self.add(pouch(head + np.array([0.0, -0.035, 0.06]) * size, end, 0.092 * size, hair, 0.62))
        if person.hairstyle == "horse tail":
            tip = self._at(0.03 * np.sin(self.phase), -0.17 * unit, 1.36)
            self.add(pouch(head + np.array([0.0, -0.10, 0.04]) * size, tip, 0.034 * size, hair))
        if person.head_accessories == "hat":
            crown, brim = (head + np.array(offset) * size for offset in ((0.0, -0.005, 0.07), (0.0, 0.075, 0.062)))
            self.add(ellipsoid(crown, (0.093 * size, 0.11 * size, 0.075 * size), cloth))
            self.add(ellipsoid(brim, (0.085 * size, 0.12 * size, 0.016 * size), cloth))
        elif person.head_accessories == "scarf":
            self.add(ellipsoid(self._at(0, 0.01, 1.475), (0.11 * unit, 0.115 * unit, 0.06 * unit), cloth))
        if person.upper_body_clothing == "hoodie":
            hood = (0.125 * unit, 0.075 * unit, 0.085 * unit)
            self.add(ellipsoid(self._at(0, -0.085 * unit, 1.46), hood, to_linear(person.upper.color)))

    def add_bag(self, hand: np.ndarray) -> None:
        unit, kind = self.unit, self.person.accessories
        color = to_linear(self.person.bag.color)
        if kind == "backpack":
            back = self.waist * 0.75
            top, bottom = self._at(0, -back - 0.07 * unit, 1.44), self._at(0, -back - 0.09 * unit, 1.04)
            self.add(pouch(top, bottom, 0.15 * unit, _split(color, 0.45 * color, -0.35), 0.68))
            for x in (-self.shoulder * 0.55, self.shoulder * 0.55):
                strap = self._at(x, 0.06 * unit, 1.47), self._at(x * 1.15, self.waist * 0.62, 1.18)
                self.add(barrel(*strap, 0.026 * unit, 0.024 * unit, color, 0.9))
        elif kind in ("bag", "sport bag"):
            size = 1.0 if kind == "bag" else 1.35
            purse = self._at(self.hip * 1.05 + 0.05 * unit, -0.06 * unit, 0.95)
            self.add(ellipsoid(purse, (0.07 * unit * size, 0.17 * unit * size, 0.13 * unit * size), color))
            strap_top = self._at(-self.shoulder * 0.5, 0.0, 1.47)
            for y in (-0.8, 0.85):
                middle = self._at(0.1 * self.hip, y * self.waist * 0.78, 1.2)
                self.add(barrel(strap_top, middle, 0.02 * unit, 0.02 * unit, color))
                self.add(barrel(middle, purse, 0.02 * unit, 0.02 * unit, color))
        elif kind in ("handbag", "market bag"):
            radii = (0.06, 0.13, 0.11) if kind == "handbag" else (0.09, 0.13, 0.17)
            lower = hand - (0.0, 0.0, (0.05 + radii[2]) * unit)
            self.add(ellipsoid(lower, np.array(radii) * unit, color if kind == "handbag" else color * 0.5 + 0.35))
        elif kind == "rolling bag":
            base = np.array([0.28, -0.45, 0.30]) * unit
            top, bottom = base + np.array([0, 0.08, 0.30]) * unit, base - np.array([0, 0.02, 0.27]) * unit
            self.add(pouch(top, bottom, 0.17 * unit, color, 0.6))
            self.add(barrel(hand, base + np.array([0, 0.05, 0.3]) * unit, 0.015, 0.015, GLASSES_COLOR))
