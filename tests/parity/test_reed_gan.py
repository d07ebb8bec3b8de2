"""Reed's generator and discriminator beside dense ones written layer by layer from the released sizes (main_cls_int.lua of
reedscot/icml2016): 64 px, ngf 128, ndf 64, nt 128, nz 100, text of 1024."""

import torch
from torch import nn

from pairloom.systems.reed_gan import Config, Critic, Painter


class Sum(nn.Module):
    """x + f(x)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def bottleneck(outer: int, inner: int, activation: nn.Module) -> Sum:
    return Sum(
        nn.Conv2d(outer, inner, 1, bias=False), nn.BatchNorm2d(inner), activation,
        nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner), activation,
        nn.Conv2d(inner, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer),
    )  # fmt: skip


def up(before: int, after: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)


def down(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 4, 2, 1, bias=False)


class DenseGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text = nn.Sequential(nn.Linear(1024, 128), nn.LeakyReLU(0.2))
        self.net = nn.Sequential(
            nn.ConvTranspose2d(228, 1024, 4, bias=False), nn.BatchNorm2d(1024), bottleneck(1024, 256, nn.ReLU()), nn.ReLU(),
            up(1024, 512), nn.BatchNorm2d(512), bottleneck(512, 128, nn.ReLU()), nn.ReLU(),
            up(512, 256), nn.BatchNorm2d(256), nn.ReLU(),
            up(256, 128), nn.BatchNorm2d(128), nn.ReLU(),
            up(128, 3), nn.Tanh(),
        )  # fmt: skip

    def forward(self, texts: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.net(torch.cat([noise, self.text(texts)], 1)[:, :, None, None])


class DenseDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(0.2)
        self.net = nn.Sequential(
            down(3, 64), leaky, down(64, 128), nn.BatchNorm2d(128), leaky,
            down(128, 256), nn.BatchNorm2d(256),  # no activation here
            down(256, 512), nn.BatchNorm2d(512), bottleneck(512, 128, leaky), leaky,
        )  # fmt: skip
        self.text = nn.Sequential(nn.Linear(1024, 128), nn.BatchNorm1d(128), leaky)
        self.judge = nn.Sequential(
            nn.Conv2d(640, 512, 1, bias=False), nn.BatchNorm2d(512), leaky, nn.Conv2d(512, 1, 4, bias=False), nn.Sigmoid()
        )  # fmt: skip

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        words = self.text(texts).reshape(-1, 128, 1, 1).repeat(1, 1, 4, 4)
        return self.judge(torch.cat([self.net(images), words], 1)).reshape(-1)


def with_the_weights_of(dense: nn.Module, other: nn.Module) -> nn.Module:
    """Both have the same layers in the same order."""
    names, values = list(dense.state_dict()), list(other.state_dict().values())
    assert len(names) == len(values)
    dense.load_state_dict(dict(zip(names, values)))
    return dense


@torch.no_grad()
def test_generator_and_discriminator_equal_dense_ones() -> None:
    """In training, and then in evaluation with the statistics that training left."""
    torch.manual_seed(0)
    painter, critic = Painter(Config()), Critic(Config())
    dense_painter = with_the_weights_of(DenseGenerator(), painter)
    dense_critic = with_the_weights_of(DenseDiscriminator(), critic)
    texts, noise = torch.randn(3, 1024), torch.randn(3, 100)
    for training in (True, False):
        for network in (painter, critic, dense_painter, dense_critic):
            network.train(training)
        images = painter(texts, noise)
        assert images.shape == (3, 3, 64, 64)
        torch.testing.assert_close(images, dense_painter(texts, noise), atol=1e-5, rtol=1e-5)
        chances = torch.sigmoid(critic(images, texts))
        torch.testing.assert_close(chances, dense_critic(images, texts), atol=1e-5, rtol=1e-5)
