"""Seeing, judging and correcting masks: the report, the local page, marks and corrections."""
