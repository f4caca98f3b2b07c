"""Pictures and videos of motion from a software renderer that needs no display and no OpenGL."""
