"""One function per command: what was parsed goes in, the library does the work.

What is wrong is raised as an error; `cli.py` turns it into one line and exit code 1, or 2 for an
`OptionError`.
"""
