"""The published implementation: import of its weights, and parity with its numbers."""
