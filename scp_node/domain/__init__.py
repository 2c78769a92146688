"""What the node decides, as pure functions and frozen types: no I/O, no clock, no DICOM library, no logging."""
