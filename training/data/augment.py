"""Augmentation in batches on the device, its strength one dial in whole steps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

STRONGEST = 4
LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue add to the grey of an image (ITU-R BT.601)."""
RANDOM_NUMBERS = 12
"""How many uniform numbers decide the change of one image."""


def augment(images: torch.Tensor, strength: int, random_numbers: torch.Tensor) -> torch.Tensor:
    """Changed copies of `images`, (N, C, H, W) floats in 0..1, in the same layout and on the same device.

    Strength 0 returns the images as they are; 4 turns by up to 30 degrees, shows 0.6 to 1.1 of the side, shifts by up
    to 15 % of it, changes brightness, contrast and saturation by up to 40 % and covers a patch of every second image.
    All of it grows in proportion with the strength; half of all images are flipped from 1 on, patches start at 3.
    `random_numbers` (N, RANDOM_NUMBERS) holds uniform numbers in 0..1 that decide what happens to each image;
    where they were made on the CPU, a seed means the same on every device.
    """
    if not 0 <= strength <= STRONGEST:
        raise ValueError(f"augmentation strength is 0 to {STRONGEST}, not {strength}")
    if strength == 0:
        return images
    dial = strength / STRONGEST
    angle, zoom, flip, x, y, brightness, contrast, saturation, chosen, left, top, side = random_numbers.to(
        images.device, non_blocking=True
    ).T
    changed = _warp(
        images,
        angle=(2 * angle - 1) * dial * math.pi / 6,
        zoom=1 - dial * (0.5 * zoom - 0.1),
        flip=torch.where(flip < 0.5, -1.0, 1.0),
        shift=torch.stack([0.6 * x - 0.3, 0.6 * y - 0.3], 1) * dial,
    )
    changed = _recolour(changed, *(1 + 0.4 * dial * (2 * drawn - 1) for drawn in (brightness, contrast, saturation)))
    if strength >= 3:
        changed = _cover(changed, chosen < dial / 2, left, top, 0.15 + 0.25 * side)
    return changed


def _warp(
    images: torch.Tensor, angle: torch.Tensor, zoom: torch.Tensor, flip: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    """One sampling of the batch under a flip, a turn, a scale and a shift; edges repeat."""
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.stack(
        [torch.stack([cos * flip, -sin, shift[:, 0]], 1), torch.stack([sin * flip, cos, shift[:, 1]], 1)], 1
    )
    grid = _affine_grid(matrix.to(images.device, images.dtype), *images.shape[2:])
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _affine_grid(matrix: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """`F.affine_grid` of (N, 2, 3) without its product of matrices: a row and a column, added; four times as fast."""
    x, y = (
        (2 * torch.arange(length, device=matrix.device, dtype=matrix.dtype) + 1) / length - 1
        for length in (width, height)
    )
    of_x = matrix[:, :, 0, None, None] * x
    of_y = matrix[:, :, 1, None, None] * y[:, None] + matrix[:, :, 2, None, None]
    grid = matrix.new_empty(len(matrix), height, width, 2)
    torch.add(of_x, of_y, out=grid.permute(0, 3, 1, 2))
    return grid


def _recolour(
    images: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor
) -> torch.Tensor:
    """Three linear changes made as one: y = bright * (mean + contrast * (grey + saturation * (x - grey) - mean)).

    As one product with a matrix of colours, which is twenty times as fast as the terms one by one.
    """
    pixels = images.flatten(2)
    # Made where the images are: a tensor of Python numbers would be copied there, and waited for, at every batch.
    shares = LUMA if images.shape[1] == len(LUMA) else (1 / images.shape[1],) * images.shape[1]
    weights = torch.stack([images.new_full((), share) for share in shares])
    mean = (pixels.mean(2) @ weights).view(-1, 1, 1)
    b, c, s = (factor.to(images.device, images.dtype).view(-1, 1, 1) for factor in (brightness, contrast, saturation))
    own = torch.eye(len(shares), device=images.device, dtype=images.dtype)
    colours = (b * c * s) * own + (b * c * (1 - s)) * weights
    return torch.baddbmm(mean * (b * (1 - c)), colours, pixels).clamp_(0, 1).view_as(images)


def _cover(
    images: torch.Tensor, chosen: torch.Tensor, x: torch.Tensor, y: torch.Tensor, side: torch.Tensor
) -> torch.Tensor:
    """Covers a square of the chosen images with their mean colour (Zhong et al. 2017, arXiv 1708.04896)."""
    height, width = images.shape[2:]
    device = images.device

    def inside(start: torch.Tensor, length: int) -> torch.Tensor:
        low = (start * (1 - side) * length).to(device).unsqueeze(1)
        at = torch.arange(length, device=device)
        return (at >= low) & (at < low + (side * length).to(device).unsqueeze(1))

    patch = inside(y, height).unsqueeze(2) & inside(x, width).unsqueeze(1) & chosen.to(device).view(-1, 1, 1)
    return torch.where(patch.unsqueeze(1), images.mean(dim=(2, 3), keepdim=True), images)
