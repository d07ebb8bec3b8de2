"""The discrete VAE of DALL-E beside the one that transformers has for FLAVA."""

import torch
from transformers import FlavaImageCodebook, FlavaImageCodebookConfig

from pairloom.systems import dalle


def test_the_codes_equal_those_of_flava() -> None:
    torch.manual_seed(0)
    reference = FlavaImageCodebook(
        FlavaImageCodebookConfig(hidden_size=8, vocab_size=64, num_blocks_per_group=2)
    ).eval()
    config = dalle.Config(
        image_size=32, codebook=64, code_width=8, vocabulary=64, length=12, width=32, depth=1, heads=2
    )
    ours = dalle.System(config).eval()
    ours.codebook.encoder.load_state_dict(renamed(reference.state_dict()))
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = reference(0.8 * images + 0.1)  # transformers maps pixels in its processor
        logits = ours.codebook.logits(2 * images - 1)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert ours.codebook.encode(2 * images - 1).equal(
        reference.get_codebook_indices(0.8 * images + 0.1).flatten(1)
    )


def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of FLAVA's codebook as ours."""
    stage = {
        f"group_{group}.group.block_{block}": f"groups.{3 * (group - 1) + block - 1}"
        for group in (1, 2, 3, 4)
        for block in (1, 2)
    }
    layer = {f"res_path.path.conv_{at}": f"layers.{2 * at - 1}" for at in (1, 2, 3, 4)}
    names = {
        "blocks.input": "enter",
        "blocks.output.conv": "out",
        "id_path": "shortcut",
        "blocks.": "",
        **stage,
        **layer,
    }
    found = {}
    for name, tensor in tensors.items():
        for old, new in names.items():
            name = name.replace(old, new)
        found[name] = tensor
    return found
