"""The demonstration: a scanner, this node and a PACS on one machine, over real DICOM networking on loopback."""
