"""The credit models inside MLServer; imported and run by MLServer's own environment, never by ours."""

import sys
from pathlib import Path
from typing import Any

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.grpc import dataplane_pb2
from mlserver.types import InferenceRequest, InferenceResponse

from examples.credit.applicants import split_applicants
from examples.credit.estimators import load_estimator
from examples.credit.features import encode
from examples.credit.outcome import to_answer


class CreditRuntime(MLModel):  # type: ignore[misc] # MLServer is not installed where types are checked
    """One model of the credit example behind the Open Inference Protocol."""

    async def load(self) -> bool:
        """Loads the estimator that the settings name."""
        self._estimator = load_estimator(self.settings.parameters.extra["estimator"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Scores one request."""
        features = encode({tensor.name: _decode(tensor) for tensor in payload.inputs})
        answer = to_answer(self._estimator.predict_proba(features)[:, 1])
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("default_probability", answer["default_probability"]),
                StringCodec.encode_output("label", list(answer["label"])),
            ],
        )


def _decode(tensor: Any) -> Any:
    if tensor.datatype == "BYTES":
        return StringCodec.decode_input(tensor)
    return NumpyCodec.decode_input(tensor).ravel()


def make_request(model: str) -> bytes:
    """Returns a serialized ModelInferRequest with one applicant."""
    applicant = split_applicants()[1].table.iloc[0]
    tensors = dataplane_pb2.ModelInferRequest.InferInputTensor
    inputs = []
    for name, value in applicant.items():
        tensor = tensors(name=str(name), shape=[1], datatype="BYTES" if isinstance(value, str) else "INT64")
        if isinstance(value, str):
            tensor.contents.bytes_contents.append(value.encode())
        else:
            tensor.contents.int64_contents.append(int(value))
        inputs.append(tensor)
    request = dataplane_pb2.ModelInferRequest(model_name=model, inputs=inputs)
    return bytes(request.SerializeToString())


def main() -> None:
    """Writes a request for each model that the arguments name into the folder that comes first."""
    folder, *models = sys.argv[1:]
    for model in models:
        Path(folder, f"mlserver-{model}.bin").write_bytes(make_request(model))


if __name__ == "__main__":
    main()
