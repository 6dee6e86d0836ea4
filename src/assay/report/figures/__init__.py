"""Figures: SVG text from plain tables, drawn with matplotlib.

A figure is a value: its picture, its title and description, and the same numbers as a table for who cannot see it.
Equal tables give equal bytes.
"""
