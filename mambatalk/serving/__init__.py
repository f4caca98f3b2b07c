"""From a recording to result files: for the command line and over HTTP."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

Format = Literal["npz", "bvh", "glb", "vrma", "mp4"]
"""Formats of result files, each by the ending of its name."""
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
CONTENT_TYPES: Final[Mapping[Format, str]] = MappingProxyType(
    {
        "npz": "application/octet-stream",
        "bvh": "text/plain",
        "glb": "model/gltf-binary",
        "vrma": "model/gltf-binary",
        "mp4": "video/mp4",
    }
)
"""Media type of each format in an answer over HTTP."""
