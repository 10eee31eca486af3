"""open_clip without the libraries that most of its models do not need: in a process that has imported nothing yet."""

import subprocess
import sys

_CODE = """
import sys
from pipeline.encoders.open_clip_import import complete, import_open_clip
from pipeline.encoders import image_transform
open_clip = import_open_clip()
heavy = {"transformers", "timm", "torch._dynamo"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import torch, torchvision
from torchvision.ops import roi_align
from torchvision.transforms.v2 import functional
assert functional.resize(torch.zeros(3, 8, 8, dtype=torch.uint8), [4], antialias=True).shape == (3, 4, 4)
complete()
assert open_clip.hf_model.transformers is sys.modules["transformers"] and open_clip.timm_model.timm is not None
open_clip.model.TimmModel("resnet10t", 8)       # the class that open_clip imported before
import torch._dynamo
assert torch._dynamo.utils.is_compile_supported and torch._dynamo.reset
"""


def test_what_is_left_out_can_be_had_later() -> None:
    ended = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
