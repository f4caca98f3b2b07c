"""Mamba blocks, their selective scan, and the Transformer layers used beside them."""
