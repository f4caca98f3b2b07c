"""Commands around the pipeline, `python -m tasks.tools.NAME`; the Makefile calls most of them."""
