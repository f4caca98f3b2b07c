"""Audio: the channels that the generator reads, CTC token ids, and onsets."""
