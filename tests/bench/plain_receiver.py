"""What is usually written with pynetdicom: a receiver with a handler that saves what comes. The measure beside ours.

``python -m tests.bench.plain_receiver FOLDER`` prints ``ready HOST PORT`` and serves until it is ended.
"""

import sys
import threading
from pathlib import Path
from typing import cast

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE


def main(folder: Path) -> None:
    """Serve for ever."""

    def save(event: evt.Event) -> int:
        request = cast(C_STORE, event.request)
        path = folder / f"{threading.get_ident()}-{request.AffectedSOPInstanceUID}"
        path.write_bytes(event.encoded_dataset())
        return 0

    entity = AE("HAI_NODE")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, save)])
    assert server is not None
    print("ready", *server.server_address[:2], flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
