"""Words: the vocabulary, and the word of each frame."""
