"""The CPU path: decoding with Pillow, resizing and normalising with torch and NumPy."""
