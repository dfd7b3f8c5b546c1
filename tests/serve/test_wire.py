"""The protocol's tensors, written and read on the other side by tritonclient."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from segdino_deploy.errors import InputError
from segdino_deploy.manifest import ModelCard
from segdino_deploy.serve.refusals import TooLarge
from segdino_deploy.serve.wire import MAX_JSON_VALUES, Inference, parse_request, write_response

UInt8 = NDArray[np.uint8]


def described(images: UInt8, **changes: Any) -> dict[str, Any]:
    """The JSON of one input."""
    return {"name": "image", "shape": list(images.shape), "datatype": "UINT8"} | changes


def request(tensor: dict[str, Any], **others: Any) -> bytes:
    return json.dumps({"inputs": [tensor], **others}).encode()


@pytest.mark.parametrize("is_binary", [True, False])
def test_a_request_of_tritonclient_is_read(is_binary: bool, images: UInt8, card: ModelCard) -> None:
    tensor = InferInput("image", list(images.shape), "UINT8").set_data_from_numpy(images, binary_data=is_binary)
    wanted = [InferRequestedOutput("logits", binary_data=False), InferRequestedOutput("mask", binary_data=True)]
    body, json_bytes = InferenceServerClient.generate_request_body(
        [tensor], outputs=wanted, request_id="a1", timeout=1500, priority=3, parameters={"mine": 1}
    )

    inference = parse_request(body, None if json_bytes is None else str(json_bytes), card)

    assert (inference.images == images).all()
    assert inference.id == "a1"
    assert list(inference.outputs.items()) == [("logits", False), ("mask", True)]
    assert inference.timeout_seconds == 0.0015


def test_nested_data_is_read_as_flat(images: UInt8, card: ModelCard) -> None:
    inference = parse_request(request(described(images, data=images.tolist())), None, card)

    assert (inference.images == images).all()


def test_without_a_word_about_outputs_all_come_in_json(images: UInt8, card: ModelCard) -> None:
    inference = parse_request(request(described(images, data=images.ravel().tolist())), None, card)

    assert inference.outputs == {"mask": False, "logits": False}
    assert (inference.id, inference.timeout_seconds) == ("", None)


def test_one_parameter_asks_for_everything_in_binary(images: UInt8, card: ModelCard) -> None:
    tensor = described(images, data=images.ravel().tolist())
    inference = parse_request(request(tensor, parameters={"binary_data_output": True}), None, card)

    assert inference.outputs == {"mask": True, "logits": True}


@pytest.mark.parametrize("outputs", [{"mask": True, "logits": True}, {"logits": False, "mask": True}, {"mask": False}])
def test_tritonclient_reads_an_answer(outputs: dict[str, bool], images: UInt8) -> None:
    rng = np.random.default_rng(0)
    results = {"mask": images[..., 0], "logits": rng.normal(size=(6, 1, 64, 96)).astype(np.float32)}

    body, json_bytes = write_response(Inference("a1", images, outputs, None), results, "polyp", "1")

    answer = InferenceServerClient.parse_response_body(body, header_length=json_bytes)
    assert (json_bytes is not None) == any(outputs.values())
    assert answer.get_response()["id"] == "a1"
    assert [output["name"] for output in answer.get_response()["outputs"]] == list(outputs)
    for name in outputs:
        assert answer.as_numpy(name).dtype == results[name].dtype
        assert (answer.as_numpy(name) == results[name]).all()
    assert answer.as_numpy("probability") is None


OUTPUTS = {
    is_binary: [{"name": "mask"}, {"name": "logits", "parameters": {"binary_data": is_binary}}]
    for is_binary in (True, False)
}
ONE = np.zeros((1, 64, 96, 3), np.uint8)
FLAT = ONE.ravel().tolist()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 1_000, "not JSON: recursion limit"),
        (b"[]", "the request's JSON"),
        (b'{"inputs": 5}', "inputs"),
        (b'{"inputs": []}', "exactly one input, named 'image'"),
        (request(described(ONE, data=FLAT), id=7), "id"),
        (
            request(described(ONE, data=FLAT), outputs=[{"name": "mask"}] * 1025),
            "outputs: List should have at most 1024",
        ),
        (request(described(ONE, data=FLAT, name="picture")), "exactly one input, named 'image'"),
        (request(described(ONE, data=FLAT, datatype="FP32")), "'FP32': UINT8 is expected"),
        (request(described(ONE, data=FLAT, shape=[64, 96, 3])), "shape [64, 96, 3]: [N, 64, 96, 3] is expected"),
        (request(described(ONE, data=FLAT, shape=[0, 64, 96, 3])), "[N, 64, 96, 3] is expected"),
        (request(described(ONE, data=FLAT, shape=[1.5, 64, 96, 3])), "shape"),
        (request(described(ONE, data=FLAT, shape=[2**63 - 1, 64, 96, 3])), f"holds {len(FLAT)} values"),
        (
            request(described(ONE, data=FLAT, shape=[10**4298, 64, 96, 3])),
            "inputs.0.shape.0: Input should be less than",
        ),
        (
            request(described(ONE, data=FLAT, shape=[-(10**4298), 64, 96, 3])),
            "inputs.0.shape.0: Input should be greater",
        ),
        (request(described(ONE, data=FLAT, shape=[1] * 2000)), "[N, 64, 96, 3] is expected"),
        (request(described(ONE, data=FLAT[:-1])), f"holds {len(FLAT) - 1} values"),
        (request(described(ONE)), "not a list of whole numbers"),
        (request(described(ONE, data=[])), "not a list of whole numbers"),
        (request(described(ONE, data="0" * len(FLAT))), "not a list of whole numbers"),
        (request(described(ONE, data={"0": 0})), "not a list of whole numbers"),
        (request(described(ONE, data=[*FLAT[:-1], True])), "not a list of whole numbers"),
        (request(described(ONE, data=[*FLAT[:-1], 0.5])), "not a list of whole numbers"),
        (request(described(ONE, data=[*FLAT[:-1], [0]])), "not a list of whole numbers"),
        (request(described(ONE, data=[[[[FLAT]]]])), "not a list of whole numbers"),
        (request(described(ONE, data=[*FLAT[:-1], 256])), "not between 0 and 255"),
        (request(described(ONE, data=[*FLAT[:-1], -1])), "not between 0 and 255"),
        (request(described(ONE, data=FLAT, parameters={"binary_data_size": len(FLAT)})), "both data and"),
        (request(described(ONE, parameters={"binary_data_size": len(FLAT)})), "bytes follow the JSON, which are 0"),
        (request(described(ONE, parameters={"shared_memory_region": "x"})), "shared memory is not supported"),
        (request(described(ONE, data=FLAT), outputs=[{"name": "boxes"}]), "no output 'boxes': there are mask, logits"),
        (
            request(described(ONE, data=FLAT), outputs=[{"name": "mask", "parameters": {"classification": 3}}]),
            "classification is not supported",
        ),
        (
            request(described(ONE, data=FLAT), outputs=[{"name": "mask", "parameters": {"binary_data": 1}}]),
            "binary_data is true or false",
        ),
        (request(described(ONE, data=FLAT), parameters={"timeout": -1}), "microseconds"),
        (request(described(ONE, data=FLAT), parameters={"timeout": "soon"}), "microseconds"),
    ],
)
def test_what_is_not_the_protocol_is_refused_in_one_line(body: bytes, says: str, card: ModelCard) -> None:
    with pytest.raises(InputError) as refused:
        parse_request(body, None, card)

    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("header", ["", "-1", "1e3", "٣", "99999999", "9" * 5000])
def test_a_length_that_is_none_is_refused(header: str, card: ModelCard) -> None:
    with pytest.raises(InputError, match="Inference-Header-Content-Length: a number of bytes"):
        parse_request(request(described(ONE, data=FLAT)), header, card)


@pytest.mark.parametrize("said", [len(FLAT) - 1, len(FLAT) + 1, -1, 1e30, "all", True])
def test_binary_data_of_another_size_than_said_is_refused(said: object, card: ModelCard) -> None:
    header = request(described(ONE, parameters={"binary_data_size": said}))

    with pytest.raises(InputError, match="binary_data_size does not say"):
        parse_request(header + bytes(FLAT), str(len(header)), card)


def test_bytes_that_belong_to_no_input_are_refused(card: ModelCard) -> None:
    header = request(described(ONE, data=FLAT))

    with pytest.raises(InputError, match="no input has a binary_data_size"):
        parse_request(header + b"x", str(len(header)), card)


def test_json_of_more_than_four_images_is_not_even_read(card: ModelCard) -> None:
    four, eight = (np.full((count, 64, 96, 3), 255, np.uint8) for count in (4, 8))

    assert len(parse_request(request(described(four, data=four.tolist())), None, card).images) == 4
    with pytest.raises(TooLarge, match="655360 at most: send the image as binary data"):
        parse_request(request(described(eight, data=eight.tolist())), None, card)


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"[[0]],", b'{"":[]},', b"[0,0],"])
def test_json_that_is_all_brackets_is_not_even_read(unit: bytes, card: ModelCard) -> None:
    """Each list would take a hundred bytes."""
    body = b'{"inputs":[{"name":"image","shape":[1,64,96,3],"datatype":"UINT8","data":[' + unit * 50_000 + b"0]}]}"
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="more brackets than an image"):
            parse_request(body, None, card)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("is_binary", [True, False])
def test_an_answer_of_too_many_numbers_is_refused_before_anything_runs(is_binary: bool, card: ModelCard) -> None:
    """Of the mask and the logits of one class."""
    large = card.model_copy(update={"input_size": (1024, MAX_JSON_VALUES // 1024)})
    images = np.zeros((1, *large.input_size, 3), np.uint8)
    header = request(described(images, parameters={"binary_data_size": images.nbytes}), outputs=OUTPUTS[is_binary])

    if is_binary:
        parse_request(header + images.tobytes(), str(len(header)), large)
        return
    with pytest.raises(InputError, match="the answer has 2097152 values, in JSON 1048576 at most: ask for binary_data"):
        parse_request(header + images.tobytes(), str(len(header)), large)


def test_a_body_without_json_is_one_image_and_its_answer_all_binary(images: UInt8, card: ModelCard) -> None:
    """As Triton has it for models of one input."""
    inference = parse_request(images[0].tobytes(), "0", card)

    assert (inference.images == images[:1]).all()
    assert inference.outputs == {"mask": True, "logits": True}
    with pytest.raises(InputError, match="Inference-Header-Content-Length: 0: one image is expected, 18432 bytes"):
        parse_request(images[:2].tobytes(), "0", card)
