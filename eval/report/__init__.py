"""Reports on runs: `table` compares runs side by side, `html` writes one page about them, `frame_study` measures selection."""
