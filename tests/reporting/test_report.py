"""What a notebook reports is plain JSON, whatever numpy it came from."""

import json

import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from emoser_lib.reporting import report


def test_numpy_values_become_plain() -> None:
    # A real shell, so that what is displayed can be read back.
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            report(better=np.bool_(True), n=np.int64(7), f1=np.float32(0.5), name="x")
    finally:
        InteractiveShell.clear_instance()
    told = [json.loads(json.dumps(output.metadata["emoser"])) for output in captured.outputs]
    metrics = {name: value for one in told for name, value in one["metrics"].items()}
    assert metrics == {"better": True, "n": 7, "f1": 0.5, "name": "x"}
