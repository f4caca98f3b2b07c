"""Download of BEAT2 from the Hugging Face hub: selection, transfer, verification, licence."""
