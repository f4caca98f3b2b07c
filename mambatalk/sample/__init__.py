"""The embedded corpus: speech, text, motion rules, score."""
