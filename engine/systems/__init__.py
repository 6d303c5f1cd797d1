"""The systems that learn to tag clips: name -> what it reads, where it lives, how it trains unless told otherwise.

A new system is one file here and one line in SYSTEMS. This module is light (`--help` and recipes read it); a system's
own module imports torch and is loaded when it is built.
"""
