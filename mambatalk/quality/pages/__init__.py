"""The pages of the data-quality report, and their pictures."""
