"""Pipelines that change every 10 ms under 200 connections; `scripts/soak --reconfigure` does it for longer."""

import random
import unittest

import kit
from reconfigure import Reconfiguration


def setUpModule():
    kit.require_kernel()


class Reconfigure(unittest.TestCase):
    def test_every_octet_is_explained(self):
        seed = random.randrange(1_000_000)
        print(f"seed {seed} ", end="", flush=True)
        with Reconfiguration(seed) as running:
            done = running.run(10)
        for name, count in done.items():
            self.assertGreater(count, 0, name)
