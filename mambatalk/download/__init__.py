"""BEAT2 from its hub: selection, transfer, verification, licence."""
