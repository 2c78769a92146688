"""Start the node from a checkout: `python run_node.py --help`."""

import sys

from scp_node.cli import main

sys.exit(main(sys.argv[1:]))
