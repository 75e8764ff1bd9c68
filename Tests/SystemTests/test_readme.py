"""The tour of README.md, run as it stands there."""

import unittest

import kit
import tour
from web import Nginx

PAGE = b"<html>\n" + b"".join(
    b'<p>Paragraph %d</p>\n<script src="https://ad.doubleclick.net/%d.js"></script>\n' % (number, number)
    for number in range(3)) + b"</html>\n"


def setUpModule():
    kit.require_kernel()


class Tour(unittest.TestCase):
    def test_every_command_works(self):
        net = self.enterContext(kit.Topology())
        self.enterContext(Nginx(net.server)).put("news.html", PAGE)
        tour.walk(self, net, "README.md")
