"""The motion auto-encoder behind FGD: network, skeleton graph and storage."""
