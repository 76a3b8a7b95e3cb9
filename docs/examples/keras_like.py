"""AlexNet as an object: images with JSON labels in, a history to plot and labels out.

    python keras_like.py images labels.json indices.json photo.jpg

`images` holds train/, val/ (and test/) of loose files, and may be an https address of an archive of them;
labels.json is {"image_1": "cat", "image_2": "mug"}, indices.json is {"cat": 0, "mug": 1}.
"""

import sys
from pathlib import Path
from typing import Any

from alexnet_fast import AlexNet


def main(images: str, labels: str, indices: str, photo: str, **options: Any) -> list[str]:
    """Trains for two epochs, draws the curves, and says what a photo shows."""
    # Labels are checked, and mean and principal components of the colours measured, before any training.
    model = AlexNet(images, labels, indices, **options)
    print("classes", *model.classes, "- mean RGB", *(round(level, 1) for level in model.mean))

    history = model.fit(epochs=2)
    print("validation accuracy by epoch:", history.history["val_accuracy"])
    history.plot(Path(model.run) / "curves.png")

    probabilities = model.predict(photo)  # ten crops; crops="single" takes the centre alone
    jittered = model.predict(photo, jitter=True)  # each crop with a colour shift of its own
    print(f"surest {probabilities.max():.3f}, with jitter {jittered.max():.3f}")
    return model.predict_n(photo, n=2)


if __name__ == "__main__":
    print(main(*sys.argv[1:5]))
