from pathlib import Path

import pytest
from media_clips import REAL, numbered

from espresso.media import write_video


@pytest.fixture
def real() -> Path:
    """The folder of real clips."""
    if not REAL.is_dir():
        pytest.skip("needs the real clips in ../shared/data/video")
    return REAL


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    """A clip of ten seconds at 15 fps with numbered frames."""
    write_video(tmp_path / "clip.mp4", numbered(150), 15)
    return tmp_path / "clip.mp4"
