"""`Predictor`: images in every form, the pixels of training, neither torch nor DALI."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast import Predictor
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import BadImageError, centre_square, decode
from alexnet_fast.serve.image import square_of
from small_model import SMALL


def test_every_form_of_an_image_gives_the_same_answer(
    reference: Predictor, photographs: list[Image.Image], tmp_path: Path
) -> None:
    photograph = photographs[0]
    file = tmp_path / "china.png"
    photograph.save(file)
    forms = [str(file), file, file.read_bytes(), photograph, np.asarray(photograph)]
    answers = reference.probabilities(forms)
    assert answers.shape == (5, len(reference.classes))
    assert answers.dtype == np.float32
    assert (answers == answers[0]).all()
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_one_image_or_many_give_one_answer_each(reference: Predictor, photographs: list[Image.Image]) -> None:
    one = reference.predict(photographs[0])
    assert len(one) == 1
    many = reference.predict([photographs[index % 2] for index in range(35)], top=2)
    assert [answer.file for answer in many] == [f"image {place}" for place in range(35)]
    assert all(len(answer.classes) == 2 for answer in many)
    assert many[34].classes == pytest.approx(many[0].classes)
    assert many[0].classes[0].probability >= many[0].classes[1].probability
    assert many[0].classes[0].label == reference.classes[many[0].classes[0].index]
    assert reference.predict([]) == []
    batch = np.stack([np.asarray(photograph) for photograph in photographs])
    np.testing.assert_array_equal(reference.probabilities(batch), reference.probabilities(photographs))


def test_predictor_and_predict_files_give_the_same_answers(
    reference: Predictor, model_file: Path, odd_images: Path
) -> None:
    from alexnet_fast.inference.classifier import open_classifier, predict_files

    files = sorted(odd_images.iterdir())
    theirs = list(predict_files(open_classifier(model_file), files, "ten", 5))
    ours = reference.predict(files, top=5)
    assert [answer.file for answer in ours] == [answer.file for answer in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.classes[0].label == other.classes[0].label
        assert mine.classes[0].probability == pytest.approx(other.classes[0].probability, abs=1e-5)


def test_the_served_pixels_are_the_training_pixels(odd_images: Path) -> None:
    """From file to tensor, the pixels of each odd image are those of the training loaders."""
    from alexnet_fast.data import ClassMap, ImageList
    from alexnet_fast.pipelines.factory import make_loader
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.sampler import EpochSampler
    from alexnet_fast.pipelines.spec import AugmentSpec

    spec = AugmentSpec(mean=(0.0, 0.0, 0.0))
    names = tuple(sorted(f"odd/{file.name}" for file in odd_images.iterdir()))
    listed = ImageList(
        root=odd_images.parent, names=names, labels=(0,) * len(names), classes=ClassMap(("odd", "even"))
    )
    served = {name: square_of(odd_images.parent / name, spec) for name in names}
    assert len(served) >= 25
    for kind, allowed in (("torch", 0), ("dali", 2.01)):
        loader = make_loader(
            listed,
            spec,
            "square",
            EpochSampler(num_images=len(names), batch_size=5, shuffle=False),
            LoaderConfig(kind=kind, workers=2),
        )
        worst = {}
        for batch in loader.epoch(0):
            for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
                trained = (
                    image.float().permute(1, 2, 0).numpy() if image.shape[0] == 3 else image.float().numpy()
                )
                worst[names[index]] = float(np.abs(trained - served[names[index]]).max())
        print(kind, worst)
        assert len(worst) == len(names)
        assert max(worst.values()) <= allowed, worst


def test_threads_share_a_predictor(reference: Predictor, photographs: list[Image.Image]) -> None:
    alone = [reference.probabilities(photograph) for photograph in photographs]
    answers: list[tuple[int, np.ndarray]] = []

    def work(number: int) -> None:
        answers.extend((number % 2, reference.probabilities(photographs[number % 2])) for _ in range(10))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 60
    for which, answer in answers:
        np.testing.assert_allclose(answer, alone[which], atol=1e-6)


def test_a_bad_image_is_named_or_skipped(
    reference: Predictor, photographs: list[Image.Image], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bad\.jpg cannot be classified: not an image"):
        reference.predict([photographs[0], bad])
    with pytest.raises(UserError, match="image 1 cannot be classified: no bytes"):
        reference.probabilities([photographs[0], b""])
    # Also beyond the first batch.
    for ask in (reference.predict, reference.probabilities):
        with pytest.raises(UserError, match="image 33 cannot be classified: no bytes"):
            ask([*[photographs[0]] * 33, b""])
    good, skipped = reference.predict([photographs[0], bad], on_bad_image="skip")
    assert good.error is None
    assert good.classes
    assert skipped.classes == ()
    assert "not an image" in (skipped.error or "")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((4, 4, 3), np.float32), "pixels must be uint8, not float32"),
        (np.zeros((4, 4, 4), np.uint8), r"must be \(height, width, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (7, "not int"),
        ("no-such-file.jpg", "no such file"),
        ("/", "is a directory"),
    ],
)
def test_an_invalid_image_type_names_the_valid_ones(image: object, reason: str) -> None:
    with pytest.raises(BadImageError, match=reason):
        square_of(image, SMALL)  # type: ignore[arg-type]


def test_a_grey_array_is_an_image(photographs: list[Image.Image]) -> None:
    grey = photographs[0].convert("L")
    np.testing.assert_array_equal(
        square_of(np.asarray(grey), SMALL), centre_square(grey.convert("RGB"), SMALL)
    )


def test_an_image_of_pillow_is_turned_upright(odd_images: Path) -> None:
    file = odd_images / "exif-6.jpg"
    np.testing.assert_array_equal(square_of(Image.open(file), SMALL), centre_square(decode(file), SMALL))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("missing.onnx", {}, "there is no file missing.onnx"),
        ("model.engine", {}, "there is no engine model.engine"),
        ("model.onnx", {"device": "tpu"}, "--device tpu is not a device"),
    ],
)
def test_a_missing_or_foreign_model_is_refused(name: str, options: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Predictor(name, **options)


def test_an_unavailable_gpu_is_an_error_without_allow_fallback(model_file: Path) -> None:
    from alexnet_fast.runtime.cuda import gpu_count

    if gpu_count():
        assert "CUDAExecutionProvider" in Predictor(model_file, device="cuda").backend
        return
    with pytest.raises(UserError, match="CUDAExecutionProvider is unavailable"):
        Predictor(model_file, device="cuda")
    assert "CPUExecutionProvider" in Predictor(model_file).backend


def test_a_folder_is_opened_as_its_model(model_file: Path, tmp_path: Path) -> None:
    assert Predictor(model_file.parent).classes == Predictor(model_file).classes
    with pytest.raises(UserError, match="there is no model.onnx in"):
        Predictor(tmp_path)


def test_neither_torch_nor_dali_is_imported(model_file: Path, odd_images: Path) -> None:
    code = (
        "import sys\nfrom alexnet_fast import Predictor\n"
        f"answers = Predictor({str(model_file)!r}).predict({str(odd_images / 'cmyk.jpg')!r})\n"
        "assert answers[0].classes\n"
        "print([name for name in ('torch', 'nvidia', 'onnx', 'starlette', 'grpc') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"
