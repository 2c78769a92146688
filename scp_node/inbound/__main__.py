"""Start one receiver process; see ``listener``."""

import sys

from scp_node.inbound.listener import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
