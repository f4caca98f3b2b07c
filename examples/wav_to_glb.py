"""Turn a recording into a glTF file: `python examples/wav_to_glb.py speech.wav speech.glb`."""

import sys
from pathlib import Path

from mambatalk import Bundle, Speech, Synthesizer, read_audio
from mambatalk.export.gltf import write_glb
from mambatalk.serving.output import Bodies

speech, out = sys.argv[1:3]
bundle = Bundle.load("bundle")
speaker = min(bundle.speakers)

motion = Synthesizer(bundle).generate(Speech(waveform=read_audio(speech), speaker_id=speaker))

# Without a licensed SMPL-X file the figure is the stand-in body.
body = Bodies(path=None).body
write_glb(out, motion, body)
print(f"{out}: {len(motion) / 30:.1f} s of motion, {Path(out).stat().st_size / 1e6:.1f} MB")
