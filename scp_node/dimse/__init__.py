"""What receiving and sending both must know of DICOM messages: statuses, reports, text. Knows no network library."""
