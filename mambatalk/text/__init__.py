"""Words: TextGrid reading and the vocabulary."""
