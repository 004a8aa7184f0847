import pytest

torch = pytest.importorskip("torch")

from deskull.network.card import NetworkSpec
from deskull.network.unet import UNet
from deskull.typed_json import from_plain

SPECS = {
    "plain": NetworkSpec(filters=(4, 8, 16)),
    "patch": NetworkSpec(filters=(4, 8), patch=2),
    "article": NetworkSpec(
        outputs=("brain",),
        filters=(4, 8, 16),
        norm="batch",
        dropout=0.05,
        residual=False,
        upsample="transposed",
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_logits_lie_on_the_images_grid(name):
    spec = SPECS[name]
    answer = UNet(spec).eval()(torch.zeros(2, 1, 16, 24, 8))
    assert answer.shape == (2, len(spec.outputs), 16, 24, 8)


@pytest.mark.parametrize("name", SPECS)
def test_every_weight_gets_a_gradient(name):
    network = UNet(SPECS[name])
    network(torch.randn(1, 1, 16, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_residual_block_without_its_convolutions_passes_its_input_on():
    network = UNet(NetworkSpec(filters=(1, 2)))
    block = network.enter
    torch.nn.init.zeros_(block.second_norm.weight)
    torch.nn.init.zeros_(block.second_norm.bias)
    x = torch.rand(1, 1, 4, 4, 4)
    torch.testing.assert_close(block(x), x)


def test_multiple_is_the_smallest_window_that_survives_the_way_down():
    spec = NetworkSpec(filters=(2, 2, 2), patch=2)
    assert spec.multiple == 8
    UNet(spec)(torch.zeros(1, 1, 16, 16, 16))


def test_a_spec_is_read_back_from_plain_values():
    spec = SPECS["article"]
    fields = {
        "outputs": ["brain"],
        "filters": [4, 8, 16],
        "norm": "batch",
        "dropout": 0.05,
        "residual": False,
        "upsample": "transposed",
    }
    assert from_plain(NetworkSpec, fields) == spec


def test_a_new_refinement_changes_nothing_and_learns_from_the_first_step():
    coarse = UNet(NetworkSpec(filters=(4, 8), patch=2))
    grown = UNet(NetworkSpec(filters=(4, 8), patch=2, refine=3))
    missing, unexpected = grown.load_state_dict(coarse.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"refine"}
    x = torch.rand(1, 1, 16, 8, 8)
    torch.testing.assert_close(grown(x), coarse(x))
    grown(x).square().mean().backward()
    assert grown.refine.change.weight.grad.abs().sum() > 0
