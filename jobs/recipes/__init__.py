"""Recipes as packaged YAML; `--recipe NAME` finds them here."""
