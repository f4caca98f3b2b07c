"""The pipeline's stages, one module each: `python -m tasks.NAME` is what DVC runs."""
