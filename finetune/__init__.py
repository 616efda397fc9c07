"""Training: the embedded tiny models from scratch (`tiny`), later two-stage LoRA and the fusion classifiers.

Recipes are YAML files in `configs/`, each with the command that runs it at its head.
"""
