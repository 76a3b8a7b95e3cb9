"""The main job on real images: solar cells, mono- or polycrystalline."""
