"""The data-quality page: what the clips of a corpus are, which are left out, and the picture that
shows why.

One page for all who look: the stage check_clips, the scheduled flow, and `mambatalk check ROOT
--report FOLDER`.
"""
