"""A picture of one tracklet: some of its frames with their numbers, so that identity switches are seen at a glance."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

NUM_FRAMES = 16
COLUMNS = 8
CELL = (84, 160)  # width and height, pixels
CAPTION_HEIGHT = 18  # pixels
BORDER = 2  # pixels around each frame


def draw_contact_sheet(paths: Sequence[Path]) -> Image.Image:
    """Draw frames of a tracklet at equal steps, row by row, each above its name.

    Args:
        paths: All frames of the tracklet, in time order; at least one.
    """
    num_frames = min(NUM_FRAMES, len(paths))
    # The first and the last frame are always shown.
    shown = [paths[round(index * (len(paths) - 1) / max(num_frames - 1, 1))] for index in range(num_frames)]
    height = CELL[1] + CAPTION_HEIGHT
    num_rows = -(-num_frames // COLUMNS)
    sheet = Image.new("RGB", (min(num_frames, COLUMNS) * CELL[0], num_rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for index, path in enumerate(shown):
        left, top = index % COLUMNS * CELL[0], index // COLUMNS * height
        with Image.open(path) as image:
            cell = ImageOps.contain(image, (CELL[0] - 2 * BORDER, CELL[1] - 2 * BORDER))
        sheet.paste(cell, (left + BORDER, top + BORDER))
        draw.text((left + BORDER, top + CELL[1]), path.stem.lstrip("0"), fill="black", font=font)
    return sheet
