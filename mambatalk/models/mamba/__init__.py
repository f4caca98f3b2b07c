"""Selective state space blocks and their scan."""
