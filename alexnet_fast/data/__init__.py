"""Folders of pictures: listing, classes and splits."""

from __future__ import annotations

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.picture_list import PictureList, list_pictures
from alexnet_fast.data.splits import Splits, open_data, open_part

__all__ = ["ClassMap", "PictureList", "Splits", "list_pictures", "open_data", "open_part"]
