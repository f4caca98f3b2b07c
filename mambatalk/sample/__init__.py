"""The embedded sample: a synthetic corpus of speech, text and motion, and its score."""
