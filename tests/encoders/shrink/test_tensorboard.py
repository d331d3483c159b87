"""What TensorBoard is given, read back by TensorBoard itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from trimseek.encoders.shrink.tensorboard import both, tensorboard_report
from trimseek.encoders.shrink.validation import Validation
from trimseek.errors import MissingExtraError

WRITE = """
import sys
from pathlib import Path
from trimseek.encoders.shrink.tensorboard import tensorboard_candidates, tensorboard_report
from trimseek.encoders.shrink.validation import Validation
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

candidate = tensorboard_candidates(Path(sys.argv[1]) / "search")
candidate(1, "int8", {"loss": 0.0, "ms": 2.5})
candidate(2, "4 layers, int8", {"loss": 0.25, "ms": 0.5})
search = EventAccumulator(sys.argv[1] + "/search").Reload()
for name in sorted(search.Tags()["scalars"]):
    print(name, [(each.step, each.value) for each in search.Scalars(name)])
for each in search.Tensors("candidates/text_summary"):
    print(each.step, each.tensor_proto.string_val[0].decode())
report = tensorboard_report(Path(sys.argv[1]))
report(Validation(10, 1.0, 0.5, 0.25, {}), 0.75)
report(Validation(20, 2.0, 0.625, 0.5, {}), 0.5)
events = EventAccumulator(sys.argv[1]).Reload()
for name in sorted(events.Tags()["scalars"]):
    print(name, [(each.step, each.value) for each in events.Scalars(name)])
"""


def test_scalars_stand_against_steps(tmp_path: Path) -> None:
    # in a process of its own: TensorBoard's packages have warnings of their own
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path / "events")], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "candidates/loss [(1, 0.0), (2, 0.25)]",
        "candidates/ms [(1, 2.5), (2, 0.5)]",
        "1 int8",
        "2 4 layers, int8",
        "cosine [(10, 0.5), (20, 0.625)]",
        "loss [(10, 0.75), (20, 0.5)]",
        "overlap@10 [(10, 0.25), (20, 0.5)]",
    ], done.stderr


def test_both_are_told() -> None:
    told: list[str] = []
    report = both(lambda *_: told.append("first"), lambda *_: told.append("second"))
    report(Validation(1, 1.0, 0.5, 0.5, {}), 0.1)
    assert told == ["first", "second"]


def test_without_tensorboard_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'trimseek\[tensorboard\]'"):
        tensorboard_report(tmp_path)
