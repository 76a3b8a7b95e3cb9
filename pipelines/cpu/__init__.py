"""The same views of images without DALI, by Pillow and NumPy."""
