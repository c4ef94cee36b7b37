"""The container contract in one place: paths of the `/opt/ml` tree, environment variables, header names.

What SageMaker gives a container and expects of it. Everything here is a name; nothing reads or writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# --- environment variables ------------------------------------------------------------------------------

BASE_DIR = "SAGEMAKER_BASE_DIR"
"""Root of the tree, `/opt/ml` when not set."""
PROGRAM = "SAGEMAKER_PROGRAM"
"""File name of the user's code: `inference.py` when serving; no name when training: the built-in trainer."""
SUBMIT_DIRECTORY = "SAGEMAKER_SUBMIT_DIRECTORY"
"""Folder of the user's code, or when training an archive of it."""
WORKERS = "SAGEMAKER_MODEL_SERVER_WORKERS"
"""Processes that answer requests; as many as CPUs when not set."""
THREADS = "SEAWAY_THREADS"
"""Threads of numeric libraries in one process, 1 when not set."""
TIMEOUT = "SAGEMAKER_MODEL_SERVER_TIMEOUT"
"""Seconds a request may take, 60 when not set."""
TIMEOUT_SECONDS = "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS"
"""Another name of `TIMEOUT`, which it overrides."""
STARTUP_TIMEOUT = "SAGEMAKER_STARTUP_TIMEOUT"
"""Seconds the user's application may take until its `/ping` answers 200, 600 when not set."""
PORT = "SAGEMAKER_BIND_TO_PORT"
"""Port of the HTTP server, 8080 when not set."""
DEFAULT_ACCEPT = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"
"""Answer format where a request has no `Accept` or `*/*`; JSON when not set."""
MAX_PAYLOAD = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
"""Largest request body in MiB, 25 when not set."""
LOG_LEVEL = "SAGEMAKER_CONTAINER_LOG_LEVEL"
"""Python's number of a log level, 20 (INFO) when not set."""
USE_NGINX = "SAGEMAKER_USE_NGINX"
"""`true`: nginx and gunicorn instead of Granian inside the process."""
MULTI_MODEL = "SAGEMAKER_MULTI_MODEL"
"""`true`: many models below `Tree.models` instead of one in `Tree.model`."""
BATCH = "SAGEMAKER_BATCH"
"""`true` in a batch transform job."""
BATCH_STRATEGY = "SAGEMAKER_BATCH_STRATEGY"
"""`MultiRecord` or `SingleRecord`, as the batch transform job was created."""
MAX_CONCURRENT_TRANSFORMS = "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"
"""Requests a batch transform job sends at once."""
TRAINING_JOB_NAME = "TRAINING_JOB_NAME"
"""Name of the training job."""
MODEL_DIR = "SM_MODEL_DIR"
"""What user code reads to find `Tree.model`."""
FRAMEWORK_MODULE = "SAGEMAKER_TRAINING_MODULE"
"""Handed on to training scripts as `SM_FRAMEWORK_MODULE`."""

# --- headers, in lower case ------------------------------------------------------------------------------

UNSENT = "x-seaway-unsent"
"""On a sidecar's answer: its container has seen nothing of the request, which another instance may answer."""
REQUEST_ID = "x-amzn-requestid"
"""Names one invocation: the event id."""
INFERENCE_ID = "x-amzn-sagemaker-inference-id"
"""The caller's own name of an invocation; it stands in captured data."""
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
"""Opaque text between caller and container, in both directions."""
TARGET_MODEL = "x-amzn-sagemaker-target-model"
"""Key of the model that shall answer, below the prefix of a multi-model endpoint."""
ENABLE_EXPLANATIONS = "x-amzn-sagemaker-enable-explanations"
"""Whether to explain: a JMESPath expression with a boolean value."""
SESSION_ID = "x-amzn-sagemaker-session-id"
"""`NEW_SESSION`, or the id of a session of a stateful model."""
NEW_SESSION_ID = "x-amzn-sagemaker-new-session-id"
"""Answer: `ID; Expires=TIME` of the session that was opened."""
CLOSED_SESSION_ID = "x-amzn-sagemaker-closed-session-id"
"""Answer: the session that was closed."""
PREFIX_AWARE_ID = "x-amzn-sagemaker-prefix-aware-id"
"""Names what prompts have in common, for routing by it."""
TARGET_CONTAINER = "x-amzn-sagemaker-target-container-hostname"
"""Which of several containers shall answer directly; no endpoint of ours has such."""
INFERENCE_COMPONENT = "x-amzn-sagemaker-inference-component"
"""Which inference component shall answer; no endpoint of ours has any."""
STAGE = "x-seaway-stage"
"""On a pipeline's failure: the stage that failed. The gateway names it in the message and takes it off."""

# --- paths and numbers -----------------------------------------------------------------------------------

PING, INVOCATIONS, EXECUTION_PARAMETERS = "/ping", "/invocations", "/execution-parameters"
RESPONSE_STREAM = "/invocations-response-stream"
STREAM_ACCEPT, STREAM_CONTENT_TYPE = "x-amzn-sagemaker-accept", "x-amzn-sagemaker-content-type"
STOP_GRACE_SERVE = 30.0
"""Seconds between SIGTERM and SIGKILL for a serving container."""
STOP_GRACE_TRAIN = 120.0
"""Seconds between SIGTERM and SIGKILL for a training container."""
FAILURE_LENGTH = 1024
"""Characters of the failure file that are shown."""
SERVING_PROGRAM = "inference.py"
"""Default of `PROGRAM` when serving."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Where things are in a container."""

    base: Path = Path("/opt/ml")

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Tree:
        """The tree below `SAGEMAKER_BASE_DIR`."""
        return cls(Path(environ.get(BASE_DIR) or "/opt/ml"))

    @property
    def model(self) -> Path:
        """The unpacked archive when serving; what becomes it when training."""
        return self.base / "model"

    @property
    def models(self) -> Path:
        """Root of a multi-model container."""
        return self.base / "models"

    @property
    def model_code(self) -> Path:
        """The user's code in the archive."""
        return self.model / "code"

    @property
    def code(self) -> Path:
        """The user's code when training."""
        return self.base / "code"

    @property
    def input(self) -> Path:
        """Inputs of training."""
        return self.base / "input"

    @property
    def input_config(self) -> Path:
        """`hyperparameters.json`, `inputdataconfig.json`, `resourceconfig.json`."""
        return self.input / "config"

    def channel(self, name: str) -> Path:
        """Data of one channel."""
        return self.input / "data" / name

    @property
    def output(self) -> Path:
        """Outputs of training besides the model."""
        return self.base / "output"

    @property
    def output_data(self) -> Path:
        """Becomes `output.tar.gz`."""
        return self.output / "data"

    @property
    def output_intermediate(self) -> Path:
        """Files that may be uploaded while training runs."""
        return self.output / "intermediate"

    @property
    def failure(self) -> Path:
        """Why training failed, as text."""
        return self.output / "failure"

    @property
    def success(self) -> Path:
        """Appears when training succeeded."""
        return self.output / "success"

    @property
    def checkpoints(self) -> Path:
        """Kept when a job on spare capacity is interrupted."""
        return self.base / "checkpoints"
