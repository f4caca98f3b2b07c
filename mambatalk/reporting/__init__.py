"""HTML pages that need no network: one style, embedded pictures."""
