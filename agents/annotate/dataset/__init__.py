"""What becomes of constructed questions: the output files, statistics, exports, the review page."""
