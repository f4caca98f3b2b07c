"""The motion auto-encoder behind the Fréchet gesture distance."""
