"""The main job on real pictures: solar cells, mono- or polycrystalline."""
