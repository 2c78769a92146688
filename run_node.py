"""Start the node from a checkout: `python run_node.py --help`."""

from scp_node.cli import main

main()
