"""The BEATX layout: ids, splits, snapshots, and readers of npz, wav, TextGrid and semantics."""
