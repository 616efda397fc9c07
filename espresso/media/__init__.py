"""Images and videos: open, probe, sample frames by a plan, decode, encode.

```python
clip = media.open("clip.mp4")  # or "clip.mp4#t=4,6" for the part from 4 s to 6 s
sampled = media.sample(clip, media.adaptive(16), size=224)
```
"""

from espresso.media.clip import Media, open
from espresso.media.encode import data_url, thumbnail_url, write_video
from espresso.media.limits import Limits
from espresso.media.plan import Plan, adaptive, evenly_spaced, fps, parse_plan, uniform
from espresso.media.process import in_background
from espresso.media.sample import SampledFrames, sample
from espresso.media.segment import segment_source, split_segment

__all__ = [
    "Limits",
    "Media",
    "Plan",
    "SampledFrames",
    "adaptive",
    "data_url",
    "evenly_spaced",
    "fps",
    "in_background",
    "open",
    "parse_plan",
    "sample",
    "segment_source",
    "split_segment",
    "thumbnail_url",
    "uniform",
    "write_video",
]
