from pathlib import Path

import pytest
from media_clips import REAL, numbered

from espresso.media import write_video


@pytest.fixture
def real() -> Path:
    """The folder of real clips."""
    if not REAL.is_dir():
        pytest.skip("the real clips (../shared/data/video) are not on this machine")
    return REAL


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    """Ten seconds at 15 frames a second, each frame numbered."""
    write_video(tmp_path / "clip.mp4", numbered(150), 15)
    return tmp_path / "clip.mp4"
