"""Figures as data and a declaration: lines over days, which a browser draws, and tables whose cells are coloured.

A figure is a value: title, description, numbers, and how they are shown. Nothing is drawn while a run runs; equal
tables give equal figures.
"""
