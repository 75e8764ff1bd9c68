"""A sample of the matrix; `scripts/soak` runs the whole."""

import random
import unittest

import kit
import matrix


def setUpModule():
    kit.require_kernel()


class Sample(unittest.TestCase):
    def test_every_edit_over_every_link(self):
        seed = random.randrange(1_000_000)
        print(f"seed {seed} ", end="", flush=True)
        with matrix.Matrix(many=20, size=60_000, small=5_000) as running:
            for cell in matrix.sample():
                with self.subTest(cell=str(cell)):
                    running.run(cell, seed)
            running.see_table_empty()
