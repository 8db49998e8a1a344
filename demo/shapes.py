"""Draw solid shapes by casting rays: the geometry under the synthetic people.

A body is a list of quadrics (ellipsoids, and 'barrels': tapered elliptic tubes with bulging sides). Every pixel's
viewing ray is intersected with them in closed form, so perspective, foreshortening from above, occlusion between
limbs, shading and clothing patterns all follow from one small piece of algebra instead of hand-made 2-D drawing.

Axes: P parts, N pixels hit by a part, H and W pixels. World: x and y on the ground, z up, metres. A part's own
frame: x to the person's right, y to the front, z up along the limb, each scaled so that the surface is near 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

Paint = Callable[[np.ndarray], np.ndarray] | np.ndarray | tuple[float, float, float]
"""Linear RGB of a surface: one colour, or a function from own-frame points (3, N) to colours (N, 3)."""

SKY_FLOOR = 0.5  # share of the sky light that reaches a surface facing down; the rest grows with its upward normal
BARREL_BULGE = 0.35  # 0 is a straight cone; 1 closes the ends to an ellipsoid. Chosen by eye for arms and legs
POUCH_FULLNESS = 1.15  # an ellipsoid must stick out a little to look as large as the tube with the same ends


@dataclass(frozen=True)
class Part:
    """The quadric x^2 + y^2 + bulge * z^2 - 2 * taper * z = 1 with |z| <= 1, in its own scaled frame."""

    center: np.ndarray  # world position, (3,), metres
    axes: np.ndarray  # rows are the own x, y and z directions in the world, (3, 3), orthonormal
    radii: np.ndarray  # scale along each own axis, (3,), metres
    paint: Paint
    bulge: float = 1.0  # 1 for ellipsoids, less for barrels
    taper: float = 0.0  # positive when the upper end is the thicker one


@dataclass(frozen=True)
class Light:
    """Daylight at one place and time: ``sun`` and ``sky`` are linear RGB, (3,), float32; 1 is normal."""

    sun_direction: np.ndarray
    sun: np.ndarray
    sky: np.ndarray


@dataclass(frozen=True)
class View:
    """A pinhole camera in the world; ``right``, ``down`` and ``forward`` are orthonormal, (3,) each."""

    position: np.ndarray  # optical centre, (3,), metres
    right: np.ndarray
    down: np.ndarray
    forward: np.ndarray
    focal: float  # pixels

    @classmethod
    def look_at(cls, position: np.ndarray, target: np.ndarray, pixels_per_meter: float, roll: float) -> "View":
        """Point a camera at ``target``, where one metre covers ``pixels_per_meter``; roll in radians."""
        offset = target - position
        distance = float(np.linalg.norm(offset))
        forward = offset / distance
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        cos, sin = np.cos(roll), np.sin(roll)
        return cls(position, cos * right + sin * down, cos * down - sin * right, forward, pixels_per_meter * distance)

    def extents(self, parts: Sequence[Part]) -> np.ndarray:
        """Return the parts' boxes (left, top, right, bottom), (P, 4), in pixels from the optical axis."""
        centers, own_axes, radii, bulges, tapers = _stack(parts)
        offsets = centers - self.position
        scales = self.focal / (offsets @ self.forward)
        swell = np.sqrt(1.0 + tapers**2 / bulges)
        boxes = np.empty((len(parts), 4))
        for index, axis in enumerate((self.right, self.down)):
            reach = np.abs(own_axes @ axis) * radii
            radius = np.hypot(reach[:, 0], reach[:, 1]) * swell
            radius = np.where(bulges == 1.0, np.hypot(radius, reach[:, 2]), radius + reach[:, 2])
            middle = offsets @ axis
            boxes[:, index] = (middle - radius) * scales
            boxes[:, index + 2] = (middle + radius) * scales
        return boxes


def ellipsoid(center: ArrayLike, radii: ArrayLike, paint: Paint, pitch: float = 0.0) -> Part:
    """Make an ellipsoid, upright or leaning forward by ``pitch`` radians."""
    cos, sin = np.cos(pitch), np.sin(pitch)
    axes = np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    return Part(np.asarray(center, float), axes, np.asarray(radii, float), paint)


def barrel(
    top: np.ndarray,
    bottom: np.ndarray,
    top_radius: float,
    bottom_radius: float,
    paint: Paint,
    depth: float = 1.0,
    overlap: float = 1.06,
    bulge: float = BARREL_BULGE,
) -> Part:
    """Make a tube from ``top`` to ``bottom``, (3,), metres.

    Args:
        top_radius, bottom_radius: Sideways radii at the ends, metres.
        depth: Front-to-back radius as a share of the sideways one.
        overlap: Length factor; a little over 1 closes the gap at bent joints.
        bulge: How much thicker the middle is than the ends, 0 (cone) to 1.
    """
    axis = top - bottom
    length = np.sqrt(axis @ axis)
    z = axis / length
    x = np.array([1.0, 0.0, 0.0]) - z[0] * z
    x /= np.sqrt(x @ x)
    y = np.array([z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0]])
    squared = (top_radius**2 + bottom_radius**2) / 2 / (1.0 - bulge)
    taper = (top_radius**2 - bottom_radius**2) / (4 * squared)
    radius = np.sqrt(squared)
    radii = np.array([radius, radius * depth, length / 2 * overlap])
    return Part((top + bottom) / 2, np.array([x, y, z]), radii, paint, bulge, taper)


def pouch(top: np.ndarray, bottom: np.ndarray, radius: float, paint: Paint, depth: float = 1.0) -> Part:
    """Make an ellipsoid from ``top`` to ``bottom``; radius and depth as for ``barrel``."""
    tube = barrel(top, bottom, radius, radius, paint, depth, bulge=0.0)
    return replace(tube, radii=tube.radii * POUCH_FULLNESS, bulge=1.0)


def place(parts: Sequence[Part], position: np.ndarray, heading: float) -> list[Part]:
    """Turn parts by ``heading`` radians, counter-clockwise from above, and move them to ``position``."""
    cos, sin = np.cos(heading), np.sin(heading)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    centers, own_axes, *_ = _stack(parts)
    centers, own_axes = centers @ turn.T + position, own_axes @ turn.T
    placed = zip(parts, centers, own_axes, strict=True)
    return [replace(part, center=center, axes=axes) for part, center, axes in placed]


class Canvas:
    """A window of a view's image plane that parts are drawn on, once and all together.

    Args:
        view: The camera.
        window: Left, top (pixels from the optical axis), width and height of the window, in image pixels.
        oversampling: Rays per pixel along each image axis.
    """

    def __init__(self, view: View, window: tuple[float, float, int, int], oversampling: int) -> None:
        self.left, self.top, width, height = window
        self.view, self.oversampling = view, oversampling
        self.u = (self.left + (np.arange(width * oversampling) + 0.5) / oversampling) / view.focal  # (W,)
        self.v = (self.top + (np.arange(height * oversampling) + 0.5) / oversampling) / view.focal  # (H,)
        self.color = np.zeros((len(self.v), len(self.u), 3), dtype=np.float32)
        self.cover = np.zeros((len(self.v), len(self.u)), dtype=np.float32)

    def draw(self, parts: Sequence[Part], light: Light) -> None:
        """Paint what is visible of ``parts``; their rays follow one another, for few calls of numpy."""
        solids = _Solids.seen_from(self.view, parts)
        counts, rows, columns, discriminant = self._silhouettes(parts, solids)
        part = np.repeat(np.arange(len(parts)), counts)
        distance, points, visible = solids.intersect(part, counts, self.u[columns], self.v[rows], discriminant)
        pixel = rows * len(self.u) + columns
        pixel, part = pixel[visible], part[visible]
        depth = np.full(self.cover.size, np.inf)
        np.minimum.at(depth, pixel, distance)
        nearest = distance == depth[pixel]
        pixel = pixel[nearest]
        shown = np.bincount(part[nearest], minlength=len(parts))
        self.color.reshape(-1, 3)[pixel] = _shade(parts, shown, points[:, nearest].astype(np.float32), light)
        self.cover.reshape(-1)[pixel] = 1.0

    def _silhouettes(
        self, parts: Sequence[Part], solids: "_Solids"
    ) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray]:
        """Return how many rays meet each part, and of all those the rows, columns and discriminants (N,)."""
        corners = self.view.extents(parts) - (self.left, self.top, self.left, self.top)
        corners = np.maximum(corners * self.oversampling + (0, 0, 2, 2), 0).astype(int).tolist()
        rows, columns, discriminants = [], [], []
        for conic, (left, top, right, bottom) in zip(solids.conics, corners, strict=True):
            discriminant = _conic_on_grid(conic, self.u[left:right], self.v[top:bottom, None])
            hit_rows, hit_columns = np.nonzero(discriminant > 0.0)
            discriminants.append(discriminant[hit_rows, hit_columns])
            rows.append(hit_rows + top)
            columns.append(hit_columns + left)
        counts = [len(hits) for hits in rows]
        return counts, np.concatenate(rows), np.concatenate(columns), np.concatenate(discriminants)

    def average(self, rays: np.ndarray) -> np.ndarray:
        """Average an array over the rays of each pixel: (H * oversampling, W * oversampling, ...) to (H, W, ...)."""
        factor = self.oversampling
        total = sum(rays[row::factor, column::factor] for row in range(factor) for column in range(factor))
        return total / np.float32(factor**2)


@dataclass(frozen=True)
class _Solids:
    """Quadrics along viewing rays: a s^2 + 2 b s + c = 0 at distance s, for the ray through (u, v)."""

    bulges: np.ndarray  # the parts', (P,)
    origins: np.ndarray  # optical centre in the own frames, (P, 3)
    bases: np.ndarray  # basis @ (u, v, 1) holds the own-frame ray and, in row 3, b; (P, 4, 3)
    conics: list[list[list[float]]]  # b^2 - a c = (u, v, 1) @ conic @ (u, v, 1) > 0 inside the silhouette; (P, 3, 3)

    @classmethod
    def seen_from(cls, view: View, parts: Sequence[Part]) -> "_Solids":
        """Express parts in terms of a view's rays."""
        centers, own_axes, radii, bulges, tapers = _stack(parts)
        to_own = own_axes / radii[:, :, None]  # (P, 3, 3)
        origins = (to_own @ (view.position - centers)[:, :, None])[..., 0]  # (P, 3)
        bases = to_own @ np.array([view.right, view.down, view.forward]).T  # (P, 3, 3)
        weights = np.ones((len(parts), 3))
        weights[:, 2] = bulges
        weighted = bases * weights[:, :, None]
        a_forms = bases.transpose(0, 2, 1) @ weighted
        b_forms = (origins[:, None] @ weighted)[:, 0] - tapers[:, None] * bases[:, 2]
        c = (origins * origins * weights).sum(axis=1) - 2 * tapers * origins[:, 2] - 1.0
        conics = b_forms[:, :, None] * b_forms[:, None] - c[:, None, None] * a_forms
        return cls(bulges, origins, np.concatenate([bases, b_forms[:, None]], axis=1), conics.tolist())

    def intersect(
        self, part: np.ndarray, counts: Sequence[int], u: np.ndarray, v: np.ndarray, discriminant: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find where rays meet the surfaces.

        Args:
            part: Index of the part of each ray, (N,), ascending.
            counts: Rays of each part, (P,).
            u, v: The rays, (N,).
            discriminant: b^2 - a c, (N,), positive.
        Returns:
            Distance (M,) and own-frame point (3, M) of the M rays that meet a surface, and which those are (N,).
        """
        split = np.split(np.array([u, v, np.ones(len(u))]), np.cumsum(counts)[:-1], axis=1)
        rays = np.concatenate([basis @ own for basis, own in zip(self.bases, split, strict=True)], axis=1)
        b, rays = rays[3], rays[:3]
        bulge = self.bulges[part]
        squares = rays * rays
        a = squares[0] + squares[1] + bulge * squares[2]
        root = np.sqrt(discriminant)
        # A tube is open at its ends: where the near wall is missing, its far inner wall shows.
        start = self.origins[part, 2]
        distance = (-b - root) / a
        missing = (bulge < 1.0) & (np.abs(start + distance * rays[2]) > 1.0)
        distance[missing] = (root[missing] - b[missing]) / a[missing]
        visible = ~missing | (np.abs(start + distance * rays[2]) <= 1.0)
        distance = distance[visible]
        return distance, self.origins[part[visible]].T + distance * rays[:, visible], visible


def _stack(parts: Sequence[Part]) -> tuple[np.ndarray, ...]:
    """Return the parts' centers (P, 3), axes (P, 3, 3), radii (P, 3), bulges (P,) and tapers (P,)."""
    names = ("center", "axes", "radii", "bulge", "taper")
    return tuple(np.array([getattr(part, name) for part in parts]) for name in names)


def _conic_on_grid(conic: Sequence[Sequence[float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (x, y, 1) @ conic @ (x, y, 1) for arrays that broadcast."""
    (xx, xy, x1), (_, yy, y1), (_, _, one) = conic
    return (xx * x) * x + (2 * xy * y + 2 * x1) * x + ((yy * y + 2 * y1) * y + one)


def _shade(parts: Sequence[Part], counts: np.ndarray, points: np.ndarray, light: Light) -> np.ndarray:
    """Return the light, linear RGB (N, 3), that surfaces send out: Lambert sun plus a sky that is brighter above.

    Args:
        parts, counts: Owners of the points, and how many each has, (P,).
        points: Own-frame points, part after part, (3, N), float32.
        light: The daylight.
    """
    albedo = np.empty((points.shape[1], 3), dtype=np.float32)
    facing = np.empty((2, points.shape[1]), dtype=np.float32)  # towards the sun, and upwards
    start = 0
    for part, count in zip(parts, counts.tolist(), strict=True):
        if not count:
            continue
        span = slice(start, start + count)
        start += count
        own = points[:, span]
        albedo[span] = part.paint(own) if callable(part.paint) else part.paint
        gradient = own.copy()
        gradient[2] = part.bulge * own[2] - part.taper
        toward = np.array([part.axes @ light.sun_direction, part.axes[:, 2]]) / part.radii
        length = np.sqrt((part.radii**-2.0).astype(np.float32) @ (gradient * gradient))
        facing[:, span] = toward.astype(np.float32) @ gradient / length
    sun = np.maximum(facing[0], 0.0)
    sky = (1 + SKY_FLOOR) / 2 + (1 - SKY_FLOOR) / 2 * facing[1]
    return albedo * (sun[:, None] * light.sun + sky[:, None] * light.sky)


def shadow(parts: Sequence[Part], x: np.ndarray, y: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return which points of the ground z = 0 lie in the shadow of parts; tubes count as whole ellipsoids.

    Args:
        parts: What stands in the light.
        x, y: Ground points, any shape, metres.
        direction: Towards the sun, (3,).
    """
    dark = np.zeros(x.shape, dtype=bool)
    for part in parts:
        to_own = part.axes / part.radii[:, None]
        weights = np.array([1.0, 1.0, part.bulge])
        ray = to_own @ direction
        basis = np.stack([to_own[:, 0], to_own[:, 1], -to_own @ part.center], axis=1)  # own point = basis @ (x, y, 1)
        b_form = (ray * weights) @ basis
        b_form[2] -= part.taper * ray[2]
        c_form = basis.T @ (weights[:, None] * basis)
        c_form[2] -= part.taper * basis[2]
        c_form[:, 2] -= part.taper * basis[2]
        c_form[2, 2] -= 1.0
        conic = np.outer(b_form, b_form) - (ray * weights) @ ray * c_form
        dark |= _conic_on_grid(conic.tolist(), x, y) > 0.0
    return dark
