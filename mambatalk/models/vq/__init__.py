"""The five motion auto-encoders: network, quantizer and storage."""
