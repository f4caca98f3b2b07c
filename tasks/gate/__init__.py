"""The promotion gate: whether a challenger becomes the champion, and by which rules."""
