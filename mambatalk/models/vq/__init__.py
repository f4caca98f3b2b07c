"""The five motion auto-encoders."""
