"""Readers of caption and annotation files that several data sets share."""
