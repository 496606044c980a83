"""Modality conflict: picture and text name different things, and the answer follows one of them."""
