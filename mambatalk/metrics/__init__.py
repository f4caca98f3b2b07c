"""Metrics as torchmetrics classes, in published and corrected form."""
