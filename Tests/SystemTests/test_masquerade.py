"""Edits on a router that hides the client behind its own address."""

import kit
import pages
from test_page import Page, MIB
from test_replace import Replace
from transfer import open_pair


def setUpModule():
    kit.require_kernel()


class MasqueradedPage(Page):
    """A page, with connection tracking that would cut off what it cannot place."""

    def setUp(self):
        super().setUp()
        self.net.masquerade()
        for command in ("iptables", "ip6tables"):
            # As careful routers do, and as makes every packet count that tracking takes for invalid.
            self.net.router.run(command, "-w", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
