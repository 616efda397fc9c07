"""Measure frame selection by itself: which frames are chosen, without a reasoner's answer.

`measure` compares ways to select frames by captions on questions with true spans: NExT-GQA with
stored captions, or the world with the captioner's (`captioned`). `espresso eval run
nextgqa-captions` and `world-captions` print its tables. `ranked` finds the best set of frames for a
reasoner by its loss.
"""
