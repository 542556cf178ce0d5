"""What a notebook reports is plain JSON, whatever numpy it came from."""

import json

import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from emoser_lib.reporting import report


def reported(**metrics: object) -> dict[str, object]:
    # A real shell, so that what is displayed can be read back.
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            report(**metrics)
    finally:
        InteractiveShell.clear_instance()
    told = [json.loads(json.dumps(output.metadata["emoser"])) for output in captured.outputs]
    return {name: value for one in told for name, value in one["metrics"].items()}


def test_numpy_values_become_plain() -> None:
    told = reported(better=np.bool_(True), n=np.int64(7), f1=np.float32(0.5), name="x")
    assert told == {"better": True, "n": 7, "f1": 0.5, "name": "x"}


def test_a_number_that_is_not_finite_is_null_and_a_text_stays_a_text() -> None:
    told = reported(a=np.float32("nan"), b=[1.5, float("inf")], c={"d": (-float("inf"),)}, word="nan", words=["inf"])
    assert told == {"a": None, "b": [1.5, None], "c": {"d": [None]}, "word": "nan", "words": ["inf"]}
