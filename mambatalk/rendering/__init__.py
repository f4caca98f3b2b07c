"""Pictures and films of motion by a software renderer: no display, no GL."""
