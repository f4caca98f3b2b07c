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


def validate_gltf(path: Path) -> dict[str, Any]:
    """Return the report of Khronos' glTF validator."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("Khronos' glTF validator is not installed: npm ci --prefix tests/node")
    script = FOLDER / "node_modules" / "validate.mjs"
    script.write_text(VALIDATE)
    done = subprocess.run(
        [node, str(script), str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout)
