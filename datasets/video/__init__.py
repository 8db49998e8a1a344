"""From a video and the boxes of a tracker to folders of tracklets."""

from .cutting import cut_tracklets
from .selection import SelectionRules

__all__ = ["SelectionRules", "cut_tracklets"]
