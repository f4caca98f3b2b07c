"""The networks: auto-encoders, audio encoder, selective scans, generator, FGD encoder."""
