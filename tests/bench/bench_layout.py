"""Processor time of a view network's training step with its features in channels-last order, against the plain order.

OMP_NUM_THREADS=1 python tests/bench/bench_layout.py [--rounds 7]
"""

import argparse
import statistics
import time

import torch
from tqdm import trange

from vidboot.method.edm import Preconditioned
from vidboot.networks import unet

SHAPE = (4, 3, 8, 32, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    network = Preconditioned(unet.UNet(channels=24, multipliers=(1, 3, 5), blocks=2, head_channels=16), 0.5)
    optimizer = torch.optim.AdamW(network.parameters())
    x, sigma = torch.randn(SHAPE), torch.ones(SHAPE[0])
    layouts = {"channels-last": unet.channels_last, "plain": lambda features: features.contiguous()}
    seconds: dict[str, list[float]] = {name: [] for name in layouts}
    for _ in trange(rounds + 1, desc="training steps"):
        for name, layout in layouts.items():
            unet.channels_last = layout
            start = time.process_time()
            network(x, sigma).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    print(f"{medians['channels-last'] / medians['plain']:.2f} of the plain order's processor time")


if __name__ == "__main__":
    main()
