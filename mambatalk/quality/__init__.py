"""Check the clips of a corpus against rules and report the result on one HTML page.

The stage check_clips, the scheduled flow and `mambatalk check ROOT --report FOLDER` write the same
page.
"""
