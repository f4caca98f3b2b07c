"""The BEATX layout: ids, splits, snapshot, and readers of npz, wav, TextGrid and semantics."""
