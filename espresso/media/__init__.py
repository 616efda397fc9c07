"""Pixels: open an image or video, probe it, sample it by a plan, decode exactly the frames asked for, encode.

```python
clip = media.open("clip.mp4")
sampled = media.sample(clip, media.adaptive(16), size=224)
```
"""

from espresso.media.clip import Media, open
from espresso.media.encode import data_url, thumbnail_url, write_video
from espresso.media.plan import Plan, adaptive, fps, parse_plan, uniform
from espresso.media.process import in_background
from espresso.media.sample import Sampled, sample

__all__ = [
    "Media",
    "Plan",
    "Sampled",
    "adaptive",
    "data_url",
    "fps",
    "in_background",
    "open",
    "parse_plan",
    "sample",
    "thumbnail_url",
    "uniform",
    "write_video",
]
