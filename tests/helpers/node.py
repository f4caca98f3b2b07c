"""Tools of Node.js, installed by `npm ci --prefix tests/node`; tests that need them are skipped."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "node"
VALIDATE = """
import { readFileSync } from "fs";
import validator from "gltf-validator";
const bytes = new Uint8Array(readFileSync(process.argv[2]));
console.log(JSON.stringify(await validator.validateBytes(bytes)));
"""


READ_VRMA = """
import { readFileSync } from "fs";
globalThis.self = globalThis;
const { GLTFLoader } = await import("three/examples/jsm/loaders/GLTFLoader.js");
const { VRMAnimationLoaderPlugin } = await import("@pixiv/three-vrm-animation");
const loader = new GLTFLoader();
loader.register((parser) => new VRMAnimationLoaderPlugin(parser));
const { buffer, byteOffset, byteLength } = readFileSync(process.argv[2]);
const content = await loader.parseAsync(buffer.slice(byteOffset, byteOffset + byteLength), "");
const [animation] = content.userData.vrmAnimations;
console.log(JSON.stringify({
  seconds: animation.duration,
  bones: [...animation.humanoidTracks.rotation.keys()],
  hips: animation.restHipsPosition.toArray(),
}));
"""


def validate_gltf(path: Path) -> dict[str, Any]:
    """Return the report of Khronos' glTF validator."""
    return _run("gltf-validator", VALIDATE, path)


def read_vrma(path: Path) -> dict[str, Any]:
    """Return duration, bones and rest height that three-vrm finds in a VRM animation."""
    return _run("@pixiv/three-vrm-animation", READ_VRMA, path)


def _run(package: str, script: str, path: Path) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules" / package).is_dir():
        pytest.skip(f"{package} is not installed: npm ci --prefix tests/node")
    file = FOLDER / "node_modules" / f"{package.replace('/', '-')}.mjs"
    file.write_text(script)
    done = subprocess.run(
        [node, str(file), str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout)
