"""Reports on runs.

`table` compares runs side by side, `html` writes a page with every sample, and `frame_study`
compares ways to select frames.
"""
