"""What only an NVIDIA GPU can show, for every TensorRT that is installed there, with a tiny engine."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.engines.run.device_memory import DeviceMemory
from segdino_deploy.engines.run.tensorrt import TensorRtRunner
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.gpu import current_gpu, find_gpu
from segdino_deploy.manifest import ModelCard
from tests.engines.run.model import assert_answers, make_card, make_images
from tests.engines.run.real_gpu import OnGpu, fetch, free_bytes, on_gpu, record

pytestmark = on_gpu
PATIENCE = 60.0  # seconds
Open = Callable[..., TensorRtRunner]


def test_every_batch_size_in_any_order_gives_the_engines_answer(open_tiny: Open) -> None:
    card = make_card(1, 4)
    runner = open_tiny(card)

    for seed, count in enumerate([1, 1, 1, 4, 4, 4, 2, 1, 1, 4, 9, 3, 3, 3]):
        image = make_images(card, count, seed)
        assert_answers(runner.run({"image": image}), image)


def test_an_image_on_the_gpu_gives_what_the_same_image_in_numpy_gives(open_tiny: Open) -> None:
    card = make_card(1, 4)
    runner = open_tiny(card)
    image = OnGpu(runner.memory, make_images(card, 3))

    for seed in range(5):  # ordinary runs, and graphs
        pixels = make_images(card, 3, seed)
        image.put(pixels)
        outputs = runner.run_device(image)
        assert_answers({name: fetch(runner.memory, array) for name, array in outputs.items()}, pixels)
        assert_answers(runner.run({"image": pixels}), pixels)

    image.free()


def test_an_engine_runs_on_the_gpu_of_the_thread_that_opened_it(open_tiny: Open) -> None:
    gpu = find_gpu()
    if gpu is None or gpu.count < 2:
        pytest.skip("needs two GPUs")
    card = make_card(1, 2)
    with current_gpu(1):
        runner = open_tiny(card)
    image = make_images(card, 2)

    assert runner.memory.device == 1
    assert_answers(runner.run({"image": image}), image)  # this thread has the first GPU, or none


def test_graphs_are_captured_where_that_is_possible(open_tiny: Open, backend: str) -> None:
    card = make_card(1, 3)
    runner = open_tiny(card)
    for _ in range(3):
        runner.run({"image": make_images(card, 2)})

    by_us = not FLAVOURS[backend].compiles_on_device and runner.memory.can_capture
    assert runner.graph_batches == ((2,) if by_us else ())


def test_an_engine_alone_gives_the_answer_of_its_image_whatever_else_runs(open_tiny: Open, backend: str) -> None:
    card = make_card(1, 3, (256, 256))
    runner = open_tiny(card)
    image = make_images(card, 2)
    before = runner.device_memory_mib
    bound = runner.bind(image)
    for seed in range(4):
        other = make_images(card, 1 + seed % 3, seed)
        assert_answers(runner.run({"image": other}), other)
        bound()
        assert_answers(bound.outputs(), image)

    if not FLAVOURS[backend].compiles_on_device:
        assert before is not None
        assert before > 1  # buffers of three images of 256 x 256 and their results
    runner.close()
    with pytest.raises(SegdinoDeployError, match="was closed"):
        bound()


WRONG: dict[str, Callable[[ModelCard], NDArray[Any]]] = {
    "image is float32": lambda card: make_images(card, 1).astype(np.float32),
    "image has shape": lambda card: make_images(card, 1)[:, 1:],
    "batch of 5: this model takes 1 to 2 on the GPU": lambda card: make_images(card, 5),
}


@pytest.mark.parametrize("message", list(WRONG))
def test_a_wrong_image_on_the_gpu_is_one_error_and_the_runner_stays_usable(message: str, open_tiny: Open) -> None:
    card = make_card(1, 2)
    runner = open_tiny(card)
    wrong = OnGpu(runner.memory, np.ascontiguousarray(WRONG[message](card)))

    with pytest.raises(InputError, match=message):
        runner.run_device(wrong)

    wrong.free()
    image = make_images(card, 2)
    assert_answers(runner.run({"image": image}), image)


def test_host_memory_is_refused_before_the_gpu_faults(open_tiny: Open) -> None:
    card = make_card()
    runner = open_tiny(card)
    image = make_images(card, 1)
    said = {"shape": image.shape, "typestr": "|u1", "data": (image.ctypes.data, False), "version": 3}
    lying = type("Lying", (), {"__cuda_array_interface__": said})()

    with pytest.raises(InputError, match="no memory of a GPU"):
        runner.run_device(lying)

    assert_answers(runner.run({"image": image}), image)


def test_a_batch_outside_the_engines_profile_is_tensorrts_refusal_in_one_line(open_tiny: Open) -> None:
    runner = open_tiny(make_card(1, 4), make_card(1, 2))
    image = make_images(make_card(), 2)

    with pytest.raises(SegdinoDeployError, match="cannot run the fp32 engine: ") as caught:
        runner.run({"image": make_images(make_card(), 3)})

    assert "\n" not in str(caught.value)
    assert_answers(runner.run({"image": image}), image)


def test_threads_get_their_own_answers(open_tiny: Open) -> None:
    card = make_card(1, 3)
    runner = open_tiny(card, contexts=3)
    images = [make_images(card, 1 + seed % 3, seed) for seed in range(60)]

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda image: runner.run({"image": image}), images, timeout=PATIENCE))

    for image, outputs in zip(images, results, strict=True):
        assert_answers(outputs, image)


def test_opening_and_closing_again_and_again_keeps_no_memory(open_tiny: Open) -> None:
    card = make_card(1, 4, (256, 256))
    image = make_images(card, 4)

    def once() -> DeviceMemory:
        runner = open_tiny(card, contexts=2)
        runner.run({"image": image})
        runner.close()
        runner.close()
        return runner.memory

    memory = once()
    gc.collect()
    before = free_bytes(memory)
    for _ in range(10):
        once()
    gc.collect()

    assert before - free_bytes(memory) < 8 * 2**20  # one runner's buffers are 24 MB


@pytest.mark.parametrize("first_closed", [0, 1])
def test_runners_are_released_in_any_order(first_closed: int, open_tiny: Open) -> None:
    card = make_card(1, 2)
    runners = [open_tiny(card), open_tiny(card)]
    image = OnGpu(runners[0].memory, make_images(card, 2))
    masks = [runner.run_device(image)["mask"] for runner in runners]

    runners[first_closed].close()

    with pytest.raises(SegdinoDeployError, match="is gone"):
        _ = masks[first_closed].__cuda_array_interface__
    other = runners[1 - first_closed]
    assert fetch(other.memory, masks[1 - first_closed]).shape == (2, 16, 32)
    image.free()
    other.close()


def test_a_forgotten_runner_and_its_results_do_no_harm(open_tiny: Open, backend: str, tmp_path: Path) -> None:
    card = make_card()
    kept = open_tiny(card)
    forgotten = TensorRtRunner(card, record(backend), tmp_path / f"tiny.{FLAVOURS[backend].suffix}")
    image = OnGpu(kept.memory, make_images(card, 1))
    mask = forgotten.run_device(image)["mask"]
    del forgotten
    gc.collect()

    with pytest.raises(SegdinoDeployError, match="is gone"):
        _ = mask.__cuda_array_interface__
    assert kept.run_device(image)["mask"].shape == (1, 16, 32)
    image.free()


@pytest.mark.parametrize("kept_share", [0.3, 0.9])
def test_a_truncated_engine_is_one_clear_error(
    kept_share: float, backend: str, open_tiny: Open, tmp_path: Path
) -> None:
    open_tiny(make_card()).close()
    path = tmp_path / f"tiny.{FLAVOURS[backend].suffix}"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept_share * len(data))])

    with pytest.raises(SegdinoDeployError, match="build it here: segdino-deploy build-engine") as caught:
        TensorRtRunner(make_card(), record(backend), path)

    assert "\n" not in str(caught.value)


def test_tensorrt_rtx_keeps_what_it_compiled_outside_the_bundle(open_tiny: Open, backend: str, tmp_path: Path) -> None:
    open_tiny(make_card()).close()

    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) == (1 if FLAVOURS[backend].compiles_on_device else 0)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [f"tiny.{FLAVOURS[backend].suffix}"]


def test_events_measure_the_time_between_them(open_tiny: Open) -> None:
    runner = open_tiny(make_card())
    memory = runner.memory
    with memory.active():
        stream, start, end = memory.create_stream(), memory.create_event(), memory.create_event()
        memory.record(start, stream)
        memory.record(end, stream)
        assert 0 <= memory.elapsed_ms(start, end) < 1000
        memory.destroy_event(start)
        memory.destroy_event(end)
        memory.destroy_stream(stream)


def test_pytorch_gives_and_takes_without_a_copy(open_tiny: Open) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    card = make_card(1, 2)
    runner = open_tiny(card)
    pixels = make_images(card, 2)
    with torch.cuda.stream(torch.cuda.Stream()):
        image = torch.zeros(pixels.shape, dtype=torch.uint8, device="cuda")
        torch.cuda._sleep(50_000_000)  # the image is not there yet when the runner is asked
        image.copy_(torch.from_numpy(pixels).pin_memory(), non_blocking=True)
        outputs = runner.run_device(image)
        tensors = {name: torch.from_dlpack(array) for name, array in outputs.items()}

    assert_answers({name: tensor.cpu().numpy() for name, tensor in tensors.items()}, pixels)
    address = outputs["mask"].__cuda_array_interface__["data"][0]
    assert tensors["mask"].data_ptr() == address
    assert torch.as_tensor(outputs["mask"], device="cuda").data_ptr() == address
    with pytest.raises(InputError, match="image has strides"):
        runner.run_device(image.transpose(1, 2).contiguous().transpose(1, 2))
