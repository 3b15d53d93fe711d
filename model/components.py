"""The import path that saved pipelines record for their network, so that `stunet.py` may move without breaking a
folder.

diffusers looks for the base class by name in the module of a component, hence `ModelMixin` here and in `stunet.py`.
"""

from diffusers import ModelMixin

from model.diffused_super_resolution import DiffusedSuperResolution
from model.stunet import STUNet
from model.super_resolution import SuperResolution

__all__ = ["DiffusedSuperResolution", "ModelMixin", "STUNet", "SuperResolution"]
