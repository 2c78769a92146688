"""Start one recorder process; see ``recorder``."""

import sys

from scp_node.inbound.decoders import forbid_decoders

if __name__ == "__main__":
    forbid_decoders()

    from scp_node.inbound.recorder import main

    sys.exit(main(sys.argv[1:]))
