"""Pages that open anywhere: one style, pictures inside, nothing fetched."""
