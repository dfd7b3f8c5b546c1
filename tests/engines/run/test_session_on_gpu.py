"""Images and results that stay on the (simulated) GPU: no copy, the right order, and an end that is told."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.engines.tensorrt.session import MAX_GRAPHS
from segdino_deploy.errors import InputError, SegdinoDeployError
from tests.engines.run.model import assert_answers, make_card, make_images
from tests.engines.run.simulation import Producer, SimulatedGpu, context_of, open_session, read_back


def test_an_image_on_the_gpu_is_read_where_it_is() -> None:
    card = make_card(1, 3)
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    image = make_images(card, 3)
    producer = Producer(gpu, image)
    gpu.log.clear()

    outputs = session.run_device(producer)

    assert not {entry for entry in gpu.log if entry.startswith(("copy", "allocate"))}
    assert context_of(session).addresses["image"] == producer.address
    assert_answers({name: read_back(array) for name, array in outputs.items()}, image)
    assert outputs["mask"].shape == (3, 16, 32)
    interface = outputs["logits"].__cuda_array_interface__
    assert interface["version"] == 3
    assert interface["stream"] in gpu.streams


def test_images_at_a_few_addresses_each_get_a_graph() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    producers = [Producer(gpu, make_images(card, 1, seed)) for seed in range(3)]

    for round_number in range(4):
        for number, producer in enumerate(producers):
            image = make_images(card, 1, 10 * round_number + number)
            producer.memory[:] = image.reshape(-1)
            outputs = session.run_device(producer)
            assert_answers({name: read_back(array) for name, array in outputs.items()}, image)

    assert len(gpu.graphs) == 3
    assert gpu.launches == 9


def test_images_at_ever_new_addresses_do_not_pile_up_graphs() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card)

    for seed in range(3 * MAX_GRAPHS):
        image = make_images(card, 1, seed)
        producer = Producer(gpu, image)
        for _ in range(2 if seed % 2 else 1):
            outputs = session.run_device(producer)
        assert_answers({name: read_back(array) for name, array in outputs.items()}, image)

    assert 0 < len(gpu.graphs) <= MAX_GRAPHS
    session.close()
    assert gpu.graphs == []


def test_an_unaligned_image_is_copied_on_the_gpu() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    image = make_images(card, 1)

    outputs = session.run_device(Producer(gpu, image, offset=64))  # TensorRT asks for 256

    assert gpu.log.count("copy_on_device") == 1
    assert_answers({name: read_back(array) for name, array in outputs.items()}, image)


def test_tensorrt_rtx_sees_one_address_whatever_is_given() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card, captures_itself=True)
    images = [make_images(card, 1, seed) for seed in range(2)]
    producers = [Producer(gpu, image) for image in images]
    seen = []
    for number in (0, 1, 0, 1, 1, 1):  # for every other address it would capture its graph anew
        outputs = session.run_device(producers[number])
        seen.append(dict(context_of(session).addresses))
        assert_answers({name: read_back(array) for name, array in outputs.items()}, images[number])
    session.run(images[0])
    seen.append(dict(context_of(session).addresses))

    assert seen == [session._on_device] * 7


@pytest.mark.parametrize("version", [2, 3])
def test_the_engine_waits_for_who_makes_the_image(version: int) -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    image = make_images(card, 1)
    stream = {2: 1, 3: 77}[version]  # before version 3: the default stream, which has the number 1
    gpu.streams[stream] = []
    changes = {"version": version, "stream": stream} if version == 3 else {"version": version}
    producer = Producer(gpu, np.zeros_like(image), **changes)
    gpu.put(stream, lambda: np.copyto(producer.memory, image.reshape(-1)))

    outputs = session.run_device(producer)

    assert_answers({name: read_back(array) for name, array in outputs.items()}, image)


def test_results_on_the_gpu_say_when_they_are_gone() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    producer = Producer(gpu, make_images(card, 1))
    first = session.run_device(producer)["mask"]
    read_back(first)

    session.run(make_images(card, 1, 5))

    with pytest.raises(SegdinoDeployError, match="a later call wrote over it; copy it before"):
        _ = first.__cuda_array_interface__
    with pytest.raises(SegdinoDeployError, match="copy it before"):
        first.__dlpack__()
    last = session.run_device(producer)["mask"]
    session.close()
    with pytest.raises(SegdinoDeployError, match="is gone"):
        _ = last.__cuda_array_interface__


def test_a_wrong_image_on_the_gpu_leaves_the_session_as_it_was() -> None:
    card = make_card(1, 2)
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    kept = session.run_device(Producer(gpu, make_images(card, 1)))["mask"]

    with pytest.raises(InputError, match="image is float32"):
        session.run_device(Producer(gpu, make_images(card, 1).astype(np.float32)))

    assert read_back(kept).shape == (1, 16, 32)
