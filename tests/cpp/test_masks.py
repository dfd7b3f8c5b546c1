"""The C++ library gives what Python gives: masks, probabilities, logits, for every kind of model and frame."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy import Bundle, build_engine, export_heads, export_model, open_engine
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.run import Runner
from segdino_deploy.engines.run.contract import run_padded
from segdino_deploy.errors import MissingComponent
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.images import mask_to_png_values, read_rgb, resize_mask, resize_rgb
from segdino_deploy.manifest import BatchRange, Precision
from segdino_deploy.predict import plan_jobs, predict_files
from segdino_deploy.segment import segment_file
from tests.conftest import EXAMPLE, read_golden
from tests.cpp.building import NativeBuild
from tests.cpp.capi import NativeLibrary, NativeSegmenter, View

UInt8 = NDArray[np.uint8]
IMAGES = sorted((EXAMPLE / "test" / "image").iterdir())
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")


def build(bundle: Bundle, precision: Precision) -> None:
    """As exported: which spelling is faster here is not the question."""
    calibration = EXAMPLE / "train" if precision == "int8" else None
    build_engine(bundle, BuildOptions(precision, "openvino", calibration, lowering=("none",)))


@pytest.fixture(scope="module")
def demo(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged checkpoint with an engine of each precision."""
    path = tmp_path_factory.mktemp("masks") / "demo.segdino"
    shutil.copytree(demo_bundle, path)
    for precision in PRECISIONS[1:]:
        build(Bundle.open(path), precision)
    return path


@pytest.fixture
def pair(demo: Path, library: NativeLibrary) -> Iterator[Callable[[str], tuple[Runner, NativeSegmenter]]]:
    """The same engine opened by Python and by the C++ library."""
    opened: list[Any] = []

    def get(precision: str) -> tuple[Runner, NativeSegmenter]:
        try:
            opened.append(open_engine(demo, precision=precision))
        except MissingComponent as error:
            pytest.skip(str(error))
        opened.append(library.open(demo, precision=precision))
        return opened[-2], opened[-1]

    yield get
    for each in opened:
        each.close()


def masks_in_python(runner: Runner, images: list[UInt8]) -> list[dict[str, UInt8]]:
    """By image and head, at the images' sizes."""
    card = runner.card
    sized = np.stack([resize_rgb(image, card.input_size, card.resize_filter) for image in images])
    masks = masks_from_outputs(run_padded(runner, sized), card.thresholds)
    return [
        {head: resize_mask(mask[i], (image.shape[0], image.shape[1])) for head, mask in masks.items()}
        for i, image in enumerate(images)
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_masks_equal_pythons_on_the_demo_images(precision: str, pair: Callable[..., Any]) -> None:
    runner, segmenter = pair(precision)

    assert segmenter.info.precision == precision
    for path in IMAGES:
        image, expected = segment_file(runner, path)
        np.testing.assert_array_equal(segmenter.segment(image), expected[""], err_msg=path.name)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_example_program_writes_what_predict_writes(
    precision: str, demo: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    with open_engine(demo, precision=precision) as runner:
        predict_files(runner, plan_jobs([IMAGES[0].parent], tmp_path / "python"))

    for image in IMAGES:
        mask = tmp_path / "native" / f"{image.stem}.png"
        done = native_build.run("segment_image", demo, image, mask, f"openvino-{precision}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        expected = np.asarray(Image.open(tmp_path / "python" / mask.name))
        written = Image.open(mask)
        assert written.mode == "L"
        np.testing.assert_array_equal(np.asarray(written), expected, err_msg=image.name)
        assert set(np.unique(expected)) <= {0, 255}


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One to four images at once; every output."""
    path = tmp_path_factory.mktemp("batched") / "batched.segdino"
    golden = read_golden("v1_convt")
    options = ExportOptions(
        input_size=golden.input_hw,
        batch=BatchRange(min=1, opt=2, max=4),
        outputs=("mask", "probability", "logits"),
    )
    build(export_model(golden.checkpoint, path, options), "fp32")
    return path


@pytest.fixture
def frames() -> list[UInt8]:
    """Seven images of different sizes, smaller and larger than the model's."""
    image = read_rgb(IMAGES[3])
    sizes = [(256, 256), (64, 96), (97, 61), (1, 1), (30, 400), (311, 123), (512, 640)]
    turned = [np.ascontiguousarray(np.rot90(image, i)) for i in range(len(sizes))]
    return [resize_rgb(each, size, "bicubic") for each, size in zip(turned, sizes, strict=True)]


def test_many_images_of_many_sizes_run_in_the_batches_that_python_makes(
    batched: Path, library: NativeLibrary, frames: list[UInt8]
) -> None:
    with open_engine(batched) as runner, library.open(batched) as segmenter:
        results = segmenter.analyse(frames)
        expected = masks_in_python(runner, frames)

    assert [segmenter_hw[""]["mask"].shape for segmenter_hw in results] == [frame.shape[:2] for frame in frames]
    for result, mask in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result[""]["mask"], mask[""])


def test_a_fixed_batch_is_filled_up(tmp_path: Path, library: NativeLibrary, frames: list[UInt8]) -> None:
    golden = read_golden("v1_convt")
    options = ExportOptions(input_size=golden.input_hw, batch=BatchRange(min=3, opt=3, max=3))
    build(export_model(golden.checkpoint, tmp_path / "three.segdino", options), "fp32")

    with open_engine(tmp_path / "three.segdino") as runner, library.open(tmp_path / "three.segdino") as segmenter:
        for result, mask in zip(segmenter.analyse(frames), masks_in_python(runner, frames), strict=True):
            np.testing.assert_array_equal(result[""]["mask"], mask[""])


def test_probability_and_logits_of_the_models_size_are_the_engines(
    batched: Path, library: NativeLibrary, frames: list[UInt8]
) -> None:
    with open_engine(batched) as runner, library.open(batched) as segmenter:
        card = runner.card
        sized = np.stack([resize_rgb(frame, card.input_size, card.resize_filter) for frame in frames])
        outputs = run_padded(runner, sized)
        results = segmenter.analyse(frames, of_model_size=True, probability=True, logits=True)

    for i, result in enumerate(results):
        np.testing.assert_array_equal(result[""]["mask"], outputs["mask"][i])
        np.testing.assert_allclose(result[""]["logits"], outputs["logits"][i], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(result[""]["probability"], outputs["probability"][i], rtol=1e-5, atol=1e-6)


def test_probability_and_logits_of_the_images_size_are_pillows(
    batched: Path, library: NativeLibrary, frames: list[UInt8]
) -> None:
    with library.open(batched) as segmenter:
        small = segmenter.analyse(frames, of_model_size=True, probability=True, logits=True)
        large = segmenter.analyse(frames, probability=True, logits=True)

    for i, frame in enumerate(frames):
        height, width = frame.shape[:2]
        for kind in ("probability", "logits"):
            planes = small[i][""][kind]
            expected = [Image.fromarray(p).resize((width, height), Image.Resampling.BILINEAR) for p in planes]
            np.testing.assert_array_equal(large[i][""][kind], np.stack([np.asarray(plane) for plane in expected]))


@pytest.fixture(scope="module")
def two_heads(shared_backbone: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heads") / "joint.segdino"
    heads = {"polyp": shared_backbone("v1_convt"), "tissue": shared_backbone("v2_3class_sat")}
    export_heads(heads, path, ExportOptions(input_size=(64, 96), outputs=("logits",)))
    build(Bundle.open(path), "fp32")
    return path


def test_every_head_answers(two_heads: Path, library: NativeLibrary, frames: list[UInt8]) -> None:
    with open_engine(two_heads) as runner, library.open(two_heads) as segmenter:
        heads = segmenter.info.heads
        for result, masks in zip(segmenter.analyse(frames), masks_in_python(runner, frames), strict=True):
            for head in ("polyp", "tissue"):
                np.testing.assert_array_equal(result[head]["mask"], masks[head])

    described = [(head.name, head.family, head.num_classes, head.has_logits, head.has_probability) for head in heads]
    assert described == [("polyp", "v1_convt", 1, True, False), ("tissue", "v2", 3, True, False)]
    assert [head.class_names for head in heads] == [tuple(head.class_names) for head in runner.card.heads]


def test_the_example_program_writes_a_file_for_each_head(
    two_heads: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    with open_engine(two_heads) as runner:
        _, masks = segment_file(runner, IMAGES[0])

    done = native_build.run("segment_image", two_heads, IMAGES[0], tmp_path / "mask.png")

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.polyp.png", "mask.tissue.png"]
    for head, classes in (("polyp", 1), ("tissue", 3)):
        written = np.asarray(Image.open(tmp_path / f"mask.{head}.png"))
        np.testing.assert_array_equal(written, mask_to_png_values(masks[head], classes))


@pytest.mark.parametrize("photo", ["rgb", "palette", "alpha", "grey", "one_bit"])
def test_the_example_program_reads_png_files_as_python_does(
    photo: str, demo: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    rgb = Image.fromarray(np.roll(read_rgb(IMAGES[1]), (0, 40, 90), axis=(0, 1, 2)))
    modes = {"rgb": "RGB", "palette": "P", "alpha": "RGBA", "grey": "L", "one_bit": "1"}
    image = rgb.convert(modes[photo])
    if photo == "alpha":
        image.putalpha(Image.fromarray(np.asarray(rgb)[..., 0]))
    image.save(tmp_path / "photo.png")
    with open_engine(demo, precision="fp32") as runner:
        _, masks = segment_file(runner, tmp_path / "photo.png")

    done = native_build.run("segment_image", demo, tmp_path / "photo.png", tmp_path / "mask.png", "openvino-fp32")

    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), masks[""] * 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_the_example_program_turns_photos_upright(
    orientation: int, kind: str, demo: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    """JPEG decoders differ by a few grey levels, so a few pixels at the edges of masks may."""
    photo = Image.fromarray(read_rgb(IMAGES[2])[30:, :200])
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.save(tmp_path / f"photo.{kind}", exif=exif, quality=95)
    with open_engine(demo, precision="fp32") as runner:
        _, masks = segment_file(runner, tmp_path / f"photo.{kind}")

    done = native_build.run("segment_image", demo, tmp_path / f"photo.{kind}", tmp_path / "mask.png", "openvino-fp32")

    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    assert mask.shape == masks[""].shape == ((200, 226) if orientation >= 5 else (226, 200))
    assert np.mean(mask != masks[""] * 255) <= (0 if kind == "png" else 0.002)


def channels_swapped(rgb: UInt8) -> View:
    return View(np.ascontiguousarray(rgb[..., ::-1]), "bgr")


def with_alpha(rgb: UInt8) -> View:
    alpha = np.full((*rgb.shape[:2], 1), 77, np.uint8)
    return View(np.concatenate([rgb, alpha], axis=2), "rgba")


def swapped_with_alpha(rgb: UInt8) -> View:
    return View(np.ascontiguousarray(np.concatenate([rgb[..., ::-1], rgb[..., :1]], axis=2)), "bgra")


def with_padded_rows(rgb: UInt8) -> View:
    buffer = np.full((rgb.shape[0], rgb.shape[1] + 13, 3), 255, np.uint8)
    buffer[:, : rgb.shape[1]] = rgb
    return View(buffer[:, : rgb.shape[1]])


def region_of_a_larger_frame(rgb: UInt8) -> View:
    height, width = rgb.shape[:2]
    frame = np.random.default_rng(7).integers(0, 256, (height + 31, width + 57, 3), np.uint8)
    frame[20 : 20 + height, 9 : 9 + width] = rgb
    return View(frame, region=(9, 20, width, height))


@pytest.mark.parametrize(
    "as_camera", [channels_swapped, with_alpha, swapped_with_alpha, with_padded_rows, region_of_a_larger_frame]
)
def test_frames_of_every_layout_give_the_mask_of_their_rgb(
    as_camera: Callable[[UInt8], View], demo: Path, library: NativeLibrary
) -> None:
    rgb = np.roll(read_rgb(IMAGES[4])[:231, 10:], (0, 25), axis=(0, 2)).copy()
    rgb[..., 1] //= 2
    with open_engine(demo, precision="fp32") as runner, library.open(demo, precision="fp32") as segmenter:
        expected = masks_in_python(runner, [rgb])[0][""]
        mask = segmenter.segment(as_camera(rgb))

    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(mask, expected)


def test_grey_frames_are_repeated_in_all_channels(demo: Path, library: NativeLibrary) -> None:
    grey = np.ascontiguousarray(read_rgb(IMAGES[4])[..., 0])
    with open_engine(demo, precision="fp32") as runner, library.open(demo, precision="fp32") as segmenter:
        expected = masks_in_python(runner, [np.repeat(grey[..., None], 3, axis=2)])[0][""]
        np.testing.assert_array_equal(segmenter.segment(View(grey, "grey")), expected)


@pytest.mark.parametrize("planes", ["one_piece", "apart"])
def test_nv12_frames_are_converted_as_opencv_does(planes: str, demo: Path, library: NativeLibrary) -> None:
    luma = np.clip(read_rgb(IMAGES[5])[..., 0], 16, 235)
    chroma = np.random.default_rng(3).integers(96, 160, (luma.shape[0] // 2, luma.shape[1]), np.uint8)
    nv12 = np.concatenate([luma, chroma])
    rgb = np.asarray(cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12), np.uint8)
    view = View(nv12, "nv12") if planes == "one_piece" else View(luma, "nv12", np.ascontiguousarray(chroma))

    with open_engine(demo, precision="fp32") as runner, library.open(demo, precision="fp32") as segmenter:
        expected = masks_in_python(runner, [rgb])[0][""]
        np.testing.assert_array_equal(segmenter.segment(view), expected)


def test_both_open_the_same_engine_of_a_bundle_by_themselves(demo: Path, library: NativeLibrary) -> None:
    with open_engine(demo) as runner, library.open(demo) as segmenter:
        info = segmenter.info

    assert (info.backend, info.precision, info.device) == (runner.backend, runner.precision, runner.device)
    assert info.input_hw == runner.card.input_size
    assert [head.threshold for head in info.heads] == list(runner.card.thresholds.values())
    assert info.heads[0].class_names == ("white_matter",)


def test_a_bundle_that_was_moved_still_opens(batched: Path, library: NativeLibrary, tmp_path: Path) -> None:
    """Nothing in it names a place; folders with blanks and other letters are folders."""
    moved = tmp_path / "a folder, für Bündel" / "b.segdino"
    shutil.copytree(batched, moved)

    with library.open(moved) as segmenter:
        assert segmenter.info.engine == "openvino-fp32"
