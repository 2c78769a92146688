"""Out to the peers: objects are sent, and proof is asked for that they are held.

``courier`` is what the pipeline calls, once for each peer; it reads like the story. ``sender`` stores, ``commitment``
and ``verification`` ask for proof, ``identity`` compares patients before anything leaves, ``faults`` says what a
status means, ``link`` opens associations, ``echo`` asks whether a peer is there.
"""
