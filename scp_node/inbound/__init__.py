"""The DICOM port: association requests in, durable and recorded objects out.

Read ``guard`` for who may call, ``contexts`` for what we offer, ``handlers`` for what an event does, ``intake`` for
how an object becomes durable, ``listener`` for the process round it all. A receiver is started by the node as
``python -m scp_node.inbound --config FOLDER --receiver N [--listen-fd FD]`` and ends with it.
"""
