import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, torch
from torch import nn
from hivlp.train.memory import keep_freed

if {keep}:
    assert keep_freed()
torch.set_num_threads(1)
tower = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=32))
pictures = torch.rand(16, 3, 128, 128)
tower(pictures).mean().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    tower(pictures).mean().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_what_a_step_frees_the_next_one_uses_again():
    def new_pages(*, keep: bool) -> int:
        program = [sys.executable, "-c", STEPS.format(keep=keep)]
        return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)

    kept, given_back = new_pages(keep=True), new_pages(keep=False)
    assert kept < 0.6 * given_back, (kept, given_back)


def test_other_c_libraries_are_left_alone(monkeypatch):
    from hivlp.train import memory

    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)  # nothing is called
    assert not memory.keep_freed()
