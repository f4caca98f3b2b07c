"""What the documentation site has beyond the files of `docs/`."""
