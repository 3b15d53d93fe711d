"""The image model inside a video model: its spatial layers alone, for what is trained on single pictures."""

import inspect

import torch
from diffusers import UNet2DConditionModel

from model.stunet import STUNet

IMAGE_ARGUMENTS = frozenset(inspect.signature(UNet2DConditionModel.__init__).parameters)


def image_model(unet: STUNet) -> UNet2DConditionModel:
    """The text-to-image U-Net that `unet` was inflated from. Weights are shared, not copied, and are frozen here."""
    config = {name: value for name, value in unet.config.items() if name in IMAGE_ARGUMENTS}
    with torch.device("meta"):
        network = UNet2DConditionModel.from_config(config)
    spatial = {name: value for name, value in unet.state_dict().items() if "temporal_" not in name}
    network.load_state_dict(spatial, assign=True)
    return network.requires_grad_(False).eval()
