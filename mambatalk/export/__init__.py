"""Motion as files of animation software: BVH, glTF and VRM animation."""
