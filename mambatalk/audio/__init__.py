"""Sound: reading it and the three channels the generator hears."""
