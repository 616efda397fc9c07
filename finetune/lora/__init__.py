"""Two-stage LoRA fine-tuning (VideoEspresso, section 4 and Table 8): first evidence, then the answer."""
