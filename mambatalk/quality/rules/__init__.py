"""The data rules for clips and features, and the verdict that follows from them."""
