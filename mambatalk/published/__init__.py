"""The published implementation: key map, checkpoint import and parity with reference numbers."""
