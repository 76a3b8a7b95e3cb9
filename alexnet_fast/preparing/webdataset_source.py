"""WebDataset shards as a source."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from alexnet_fast.data.places import TarPlace
from alexnet_fast.data.tar_samples import number_names, part_of, tar_members, tar_samples
from alexnet_fast.preparing.sources import SOURCE_ENDINGS, SourcePicture


def is_webdataset(path: Path) -> bool:
    """Tells whether one of the first members is a class; a sample's members stand together."""
    return any(
        PurePosixPath(member.name).suffix == ".cls"
        for _, member in zip(range(64), tar_members(path), strict=False)
    )


def list_webdataset(tars: list[Path]) -> list[SourcePicture]:
    """Lists the samples of shards.

    A shard called train-..., val-... or test-... belongs to that part. Classes given as numbers become
    folders of numbers with leading zeros, whose sorted order is the numbers' order.

    Raises:
        UserError: A sample lacks its class or its picture.
    """
    samples = [(path, sample) for path in tars for sample in tar_samples(path, SOURCE_ENDINGS)]
    called = number_names({sample.label for _, sample in samples})
    return [
        SourcePicture(
            part_of(path), called[sample.label], sample.name, TarPlace(str(path), sample.offset, sample.size)
        )
        for path, sample in samples
    ]
