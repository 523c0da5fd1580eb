"""Asks a server with tritonclient, in one of its four flavours. Runs in an environment that has it.

    python triton_client.py grpc|grpc_aio|http|http_aio ADDRESS < requests.json

Requests are a JSON list: `{"do": "infer", "model": ..., "inputs": [...], ...}` or `{"do": "<method of the client>",
"arguments": [...]}`. Prints a JSON list: what came, or `{"error": ..., "status": ...}`. Contents of tensors are
hexadecimal, of BYTES a list of it, so that nothing is lost.
"""

import asyncio
import importlib
import inspect
import json
import sys
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException, triton_to_np_dtype


def main() -> None:
    """Reads requests and prints what came."""
    flavour, address = sys.argv[1:]
    print(json.dumps(asyncio.run(_ask_all(flavour, address, json.load(sys.stdin)))))


async def _ask_all(flavour: str, address: str, requests: list[dict[str, Any]]) -> list[Any]:
    library = importlib.import_module(f"tritonclient.{flavour.replace('_', '.')}")
    client = library.InferenceServerClient(address)
    answers = []
    for request in requests:
        try:
            answers.append(await _ask(library, client, flavour, request))
        except InferenceServerException as error:
            answers.append({"error": error.message(), "status": error.status()})
    closing = client.close()
    if inspect.isawaitable(closing):
        await closing
    return answers


async def _ask(library: Any, client: Any, flavour: str, request: dict[str, Any]) -> Any:
    is_grpc = flavour.startswith("grpc")
    if request["do"] != "infer":
        options = {"as_json": True} if is_grpc and request["do"].startswith("get_") else {}
        return await _awaited(getattr(client, request["do"])(*request.get("arguments", []), **options))
    binary = {} if is_grpc else {"binary_data": request.get("binary", True)}
    inputs = [_input(library, each, binary) for each in request["inputs"]]
    wanted = request.get("outputs")
    outputs = None if wanted is None else [library.InferRequestedOutput(name, **binary) for name in wanted]
    arguments = {name: request[name] for name in ("request_id", "timeout", "priority", "parameters") if name in request}
    arguments |= {name: request[name] for name in ("model_version", "headers") if name in request}
    if "compression" in request:
        arguments["compression_algorithm" if is_grpc else "request_compression_algorithm"] = request["compression"]
        if not is_grpc:
            arguments["response_compression_algorithm"] = request["compression"]
    return _shown(await _awaited(client.infer(request["model"], inputs, outputs=outputs, **arguments)), is_grpc)


def _input(library: Any, each: dict[str, Any], binary: dict[str, bool]) -> Any:
    tensor = library.InferInput(each["name"], each["shape"], each["datatype"])
    array = _array(each["datatype"], each["contents"])
    if array.size == np.prod(each["shape"]):
        array = array.reshape(each["shape"])
    else:  # a malformed request is what is wanted
        tensor.set_shape(array.shape)
    tensor.set_data_from_numpy(array, **binary)
    tensor.set_shape(each["shape"])
    return tensor


def _array(datatype: str, contents: Any) -> Any:
    if datatype == "BYTES":
        array = np.empty(len(contents), dtype=np.object_)
        array[:] = [bytes.fromhex(text) for text in contents]
        return array
    return np.frombuffer(bytes.fromhex(contents), triton_to_np_dtype(datatype))


def _shown(result: Any, is_grpc: bool) -> dict[str, Any]:
    response = result.get_response(as_json=True) if is_grpc else result.get_response()
    outputs = {}
    for output in response.get("outputs", []):
        array = result.as_numpy(output["name"])
        outputs[output["name"]] = {
            "datatype": output["datatype"],
            "shape": [int(size) for size in output["shape"]],
            "contents": [_hexadecimal(element) for element in array.reshape(-1)]
            if output["datatype"] == "BYTES"
            else array.tobytes().hex(),
        }
    parameters = response.get("parameters", {})
    if is_grpc:
        parameters = {
            name: value.get("string_param", int(value.get("int64_param", 0))) for name, value in parameters.items()
        }
    return {
        "model": response.get("model_name"),
        "version": response.get("model_version"),
        "id": response.get("id", ""),
        "parameters": parameters,
        "outputs": outputs,
    }


def _hexadecimal(element: Any) -> str:
    return (element.encode() if isinstance(element, str) else bytes(element)).hex()


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


if __name__ == "__main__":
    main()
