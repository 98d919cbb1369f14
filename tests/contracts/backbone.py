"""What every backbone promises, whatever its source."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from training.models.backbones import Backbone, freeze


@dataclass(frozen=True)
class BackboneCase:
    """A backbone, the source's model with the same weights, and normalised images that both take."""

    backbone: Backbone
    model: nn.Module
    images: torch.Tensor

    @property
    def cuts(self) -> range:
        return range(len(self.backbone.stages) + 1)


@torch.no_grad()
def measure_statistics(model: nn.Module, images: torch.Tensor) -> None:
    """Batch-norm statistics as `images` give them. With those of a fresh model a deep one's activations overflow."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    model.train()(images)
    model.eval()
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum


class BackboneContract:
    """For a module with a fixture `case` that gives a `BackboneCase`."""

    @torch.no_grad()
    def test_stages_cut_anywhere_give_the_source_model(self, case: BackboneCase) -> None:
        expected = case.model.eval()(case.images)
        assert expected.isfinite().all()
        assert not torch.equal(expected[0], expected[1])
        for cut in case.cuts:
            prefix, suffix = case.backbone.split(cut)
            assert len(prefix) == cut
            activations = prefix(case.images)
            kept = activations.clone()
            logits = case.backbone.source_head(suffix(activations))
            torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
            assert torch.equal(activations, kept), f"the stages from {cut} on write into what they are given"

    @torch.no_grad()
    def test_widths_and_pool(self, case: BackboneCase) -> None:
        assert len(case.backbone.widths) == len(case.backbone.stages)
        activations = case.images
        for stage, width in zip(case.backbone.stages, case.backbone.widths, strict=True):
            activations = stage(activations)
            assert width in (activations.shape[1], activations.shape[-1])
            if activations.ndim == 4 and activations.shape[-1] == activations.shape[-2]:
                assert width == activations.shape[1]
        pooled = case.backbone.pool(activations)
        assert pooled.shape == (len(case.images), case.backbone.widths[-1])
        assert not torch.equal(pooled[0], pooled[1])
        assert not list(case.backbone.pool.parameters())
        assert not list(case.backbone.pool.buffers())

    def test_a_step_at_any_cut_changes_what_is_not_frozen_and_nothing_else(self, case: BackboneCase) -> None:
        stages = case.backbone.stages
        torch.manual_seed(0)
        # Made once and kept up to date: a hundred copies of ResNet-152 take longer than its training.
        known = [{key: tensor.detach().clone() for key, tensor in stage.state_dict().items()} for stage in stages]
        for cut in case.cuts:
            head = nn.Linear(case.backbone.widths[-1], 3)
            nn.ModuleList(stages).train()
            freeze(stages, cut)
            prefix, suffix = case.backbone.split(cut)
            trained = [p for p in (*suffix.parameters(), *head.parameters()) if p.requires_grad]
            assert len(trained) == len(list(suffix.parameters())) + 2
            assert not any(parameter.requires_grad for parameter in prefix.parameters())
            optimizer = torch.optim.SGD(trained, lr=1e-2)
            with torch.no_grad():
                activations = prefix(case.images)
            loss = F.cross_entropy(head(case.backbone.pool(suffix(activations))), torch.tensor([0, 1]))
            assert loss.isfinite()
            loss.backward()
            optimizer.step()
            for number, stage in enumerate(stages):
                now = stage.state_dict()
                changed = {key for key, tensor in now.items() if not torch.equal(tensor, known[number][key])}
                for key in changed:
                    known[number][key].copy_(now[key])
                if number < cut:
                    assert not changed, f"frozen stage {number} changed at cut {cut}"
                    assert all(p.grad is None for p in stage.parameters())
                else:
                    parameters = dict(stage.named_parameters())
                    assert all(p.grad is not None for p in parameters.values())
                    assert changed & set(parameters) or not parameters, f"stage {number} was not trained at cut {cut}"
                    statistics = {key for key in now if key.endswith(("running_mean", "num_batches_tracked"))}
                    assert statistics <= changed, f"stage {number} kept its batch-norm statistics at cut {cut}"
                stage.zero_grad(set_to_none=True)

    def test_batch_norm_statistics_are_what_a_frozen_stage_normalises_by(self, case: BackboneCase) -> None:
        """Images of a batch do not see each other through frozen stages."""
        stages = case.backbone.stages
        freeze(stages, len(stages))
        with torch.no_grad():
            together, alone = case.images, case.images[:1]
            for stage in stages:
                together, alone = stage(together), stage(alone)
            torch.testing.assert_close(alone, together[:1], rtol=1e-4, atol=1e-5 * float(together.abs().max()))

    def test_numbers_that_name_it(self, case: BackboneCase) -> None:
        backbone = case.backbone
        assert len(backbone.weights_digest) == 16
        assert int(backbone.weights_digest, 16) >= 0
        assert all(0 <= mean <= 1 for mean in backbone.preprocessing.mean)
        assert all(0 < std <= 1 for std in backbone.preprocessing.std)
        seen = [parameter for stage in backbone.stages for parameter in stage.parameters()]
        assert len({id(parameter) for parameter in seen}) == len(seen), "two stages share a parameter"
