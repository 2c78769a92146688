"""A DICOM node for hepatic arterial infusion pump programmes."""
