"""Captions written by machine: who writes them, what for, and what becomes of an answer before a person accepts it."""
