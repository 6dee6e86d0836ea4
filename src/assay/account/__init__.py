"""A book that lives from day to day: its engine, its fills, what is expected of it. Nothing is ever sent."""
