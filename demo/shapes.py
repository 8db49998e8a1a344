"""Draw solid shapes by casting rays: the geometry under the synthetic people.

A body is a list of quadrics (ellipsoids, and 'barrels': tapered elliptic tubes with bulging sides). Every pixel's
viewing ray is intersected with them in closed form.

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


class View:
    """A pinhole camera that looks at ``target``, where one metre covers ``pixels_per_meter``; roll in radians."""

    def __init__(self, position: np.ndarray, target: np.ndarray, pixels_per_meter: float, roll: float) -> None:
        offset = target - position
        distance = float(np.linalg.norm(offset))
        self.position = position  # optical centre, (3,), metres
        self.focal = pixels_per_meter * distance  # pixels
        self.forward = offset / distance  # orthonormal to ``right`` and ``down``, (3,) each
        right = np.cross(self.forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        down = np.cross(self.forward, right)
        cos, sin = np.cos(roll), np.sin(roll)
        self.right, self.down = cos * right + sin * down, cos * down - sin * right

    def extents(self, parts: Sequence[Part]) -> np.ndarray:
        """Return the parts' boxes (left, top, right, bottom), (P, 4), in pixels from the optical axis."""
        names = ("center", "axes", "radii", "bulge", "taper")
        centers, own_axes, radii, bulges, tapers = (np.array([getattr(p, name) for p in parts]) for name in names)
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


def paint_points(paint: Paint, points: np.ndarray) -> np.ndarray:
    """Return the colours of own-frame points (3, N): (N, 3), or (3,) if all have the same; float32."""
    return np.asarray(paint(points) if callable(paint) else paint, dtype=np.float32)


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
    """Make a tube from ``top`` to ``bottom``, (3,), with these sideways radii at the ends, metres.

    ``depth`` is the ratio of the front-to-back radius to the sideways one; ``overlap`` lengthens the tube, which closes
    the gap at bent joints; ``bulge`` is 0 for a cone, to 1.
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
    return [replace(part, center=turn @ part.center + position, axes=part.axes @ turn.T) for part in parts]


class Canvas:
    """A window (left and top from the optical axis, width, height; pixels) of a view that parts are drawn on, once.

    ``oversampling`` is the number of rays per pixel along each image axis.
    """

    def __init__(self, view: View, window: tuple[float, float, int, int], oversampling: int) -> None:
        self.left, self.top, width, height = window
        self.view, self.oversampling = view, oversampling
        self.u = (self.left + (np.arange(width * oversampling) + 0.5) / oversampling) / view.focal  # (W,)
        self.v = (self.top + (np.arange(height * oversampling) + 0.5) / oversampling) / view.focal  # (H,)
        self.rays = np.vstack([np.array([view.right, view.down, view.forward]).T, np.zeros(3)])  # @ (u, v, 1)
        self.color = np.zeros((len(self.v), len(self.u), 3), dtype=np.float32)
        self.cover = np.zeros((len(self.v), len(self.u)), dtype=np.float32)

    def draw(self, parts: Sequence[Part], light: Light) -> None:
        """Paint what is visible of ``parts``."""
        corners = self.view.extents(parts) - (self.left, self.top, self.left, self.top)
        corners = np.maximum(corners * self.oversampling + (0, 0, 2, 2), 0).astype(int).tolist()
        seen = [self._intersect(part, corner) for part, corner in zip(parts, corners, strict=True)]
        depth = np.full(self.cover.shape, np.inf)
        for _, distance, rows, columns in seen:
            depth[rows, columns] = np.minimum(depth[rows, columns], distance)
        for part, (points, distance, rows, columns) in zip(parts, seen, strict=True):
            nearest = distance == depth[rows, columns]
            if nearest.any():
                pixel = rows[nearest], columns[nearest]
                self.color[pixel] = _shade(part, points[:, nearest].astype(np.float32), light)
                self.cover[pixel] = 1.0

    def _intersect(self, part: Part, corners: tuple[int, int, int, int]) -> tuple[np.ndarray, ...]:
        """Find where rays meet the surface: own-frame points (3, N), distances, and the rays' rows and columns (N,)."""
        left, top, right, bottom = corners
        conic, origin, basis = _silhouette(part, np.append(self.view.position, 1.0), self.rays)
        discriminant = _conic_on_grid(conic, self.u[left:right], self.v[top:bottom, None])
        rows, columns = np.nonzero(discriminant > 0.0)
        root = np.sqrt(discriminant[rows, columns])
        rows, columns = rows + top, columns + left
        rays = basis @ np.array([self.u[columns], self.v[rows], np.ones(len(rows))])
        x, y, z, b = rays
        a = x * x + y * y + part.bulge * (z * z)
        distance = (-b - root) / a  # s on the ray through (u, v): a s^2 + 2 b s + c = 0
        # A tube is open at its ends: where the near wall is missing, its far inner wall shows.
        missing = (part.bulge < 1.0) & (np.abs(origin[2] + distance * z) > 1.0)
        distance[missing] = (root[missing] - b[missing]) / a[missing]
        visible = ~missing | (np.abs(origin[2] + distance * z) <= 1.0)
        distance = distance[visible]
        return origin[:, None] + distance * rays[:3, visible], distance, rows[visible], columns[visible]

    def average(self, rays: np.ndarray) -> np.ndarray:
        """Average an array over the rays of each pixel: (H * oversampling, W * oversampling, ...) to (H, W, ...)."""
        factor = self.oversampling
        total = sum(rays[row::factor, column::factor] for row in range(factor) for column in range(factor))
        return total / np.float32(factor**2)


def _silhouette(part: Part, fixed: np.ndarray, basis: np.ndarray) -> tuple[list[list[float]], np.ndarray, np.ndarray]:
    """Return a conic, (3, 3): a line through a fixed point meets a part where (x, y, 1) @ conic @ (x, y, 1) > 0.

    ``fixed`` (4,) is homogeneous: its last number is 1, or 0 for a direction; ``basis @ (x, y, 1)``, (4, 3), is another
    point of the line. Also returns both in the own frame: (3,), and (4, 3) with their bilinear form as row 3.
    """
    to_own = np.eye(4)
    to_own[:3, :3] = part.axes / part.radii[:, None]
    to_own[:3, 3] = -to_own[:3, :3] @ part.center
    fixed, basis = to_own @ fixed, to_own @ basis
    form = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, part.bulge, -part.taper], [0, 0, -part.taper, -1]])
    mixed = fixed @ form @ basis
    conic = np.outer(mixed, mixed) - fixed @ form @ fixed * (basis.T @ form @ basis)
    return conic.tolist(), fixed[:3], np.vstack([basis[:3], mixed])


def _conic_on_grid(conic: Sequence[Sequence[float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (x, y, 1) @ conic @ (x, y, 1) for arrays that broadcast."""
    (xx, xy, x1), (_, yy, y1), (_, _, one) = conic
    return (xx * x) * x + (2 * xy * y + 2 * x1) * x + ((yy * y + 2 * y1) * y + one)


def _shade(part: Part, own: np.ndarray, light: Light) -> np.ndarray:
    """Return the light, linear RGB (N, 3), of own-frame points (3, N), float32: Lambert sun, and sky from above."""
    gradient = own.copy()
    gradient[2] = part.bulge * own[2] - part.taper
    toward = np.array([part.axes @ light.sun_direction, part.axes[:, 2]]) / part.radii  # the sun, and upwards
    length = np.sqrt((part.radii**-2.0).astype(np.float32) @ (gradient * gradient))
    facing = toward.astype(np.float32) @ gradient / length
    sun = np.maximum(facing[0], 0.0)
    sky = (1 + SKY_FLOOR) / 2 + (1 - SKY_FLOOR) / 2 * facing[1]
    return paint_points(part.paint, own) * (sun[:, None] * light.sun + sky[:, None] * light.sky)


def shadow(parts: Sequence[Part], x: np.ndarray, y: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return which ground points (x, y, 0) lie in the shadow of parts; tubes count as whole ellipsoids.

    ``direction`` (3,) points towards the sun; x and y are in metres, of any one shape.
    """
    dark = np.zeros(x.shape, dtype=bool)
    ground = np.eye(4)[:, [0, 1, 3]]  # @ (x, y, 1) = (x, y, 0, 1)
    for part in parts:
        conic, *_ = _silhouette(part, np.append(direction, 0.0), ground)
        dark |= _conic_on_grid(conic, x, y) > 0.0
    return dark
