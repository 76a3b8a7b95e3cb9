"""Lists of labelled images: class folders or tars, class map and splits."""

from __future__ import annotations

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.exclude import ExcludeList
from alexnet_fast.data.image_folder import list_images
from alexnet_fast.data.image_list import ImageList
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.shard_fields import ShardFields
from alexnet_fast.data.splits import Splits, open_data, open_split

__all__ = [
    "ClassMap",
    "DatasetFormat",
    "ExcludeList",
    "ImageList",
    "ShardFields",
    "Splits",
    "list_images",
    "open_data",
    "open_split",
]
